"""Why a mutant that is alive may be: what its place is for, or what would have to happen for it to be seen."""

import re

__all__ = ["reason"]

_REASONS: tuple[tuple[str, str, str], ...] = (
    (
        "BankedMemory",
        r"rp__en",
        "a word is read that nobody asked for; it is on no port while its ``data_valid`` is high",
    ),
    (
        "BankedMemory",
        r"const1 arrived\d",
        "a bank's output register takes a word in each cycle, not only after a read; what it takes without "
        "one is on no port while its ``data_valid`` is high",
    ),
    (
        "Fetch",
        r"const0 \$144\.Y\[1\]",
        "a bit of how many beats are asked for, 0 in all bursts of this case: an instruction is four bursts of four, "
        "and a program begins with an instruction",
    ),
    (
        "IsolateWrite",
        r"fifo.py:153",
        "the queue of lengths is never full while a burst may be taken: it has a place for each burst under way, and a "
        "burst is one of them until it is answered, which is after its last beat",
    ),
    (
        "Issue",
        r"fifo.py:(153|184)",
        "a level that the queue never has, more than its depth: the proof of Issue (docs/proofs.md) holds it "
        "to be what came less what was taken",
    ),
    (
        "Issue",
        r"error\[(1[67]|2\d|3\d)\]",
        "what is mixed in is a bit of the syndrome that is 0 in every error of Issue",
    ),
    (
        "LinkPort",
        r"const1 post\[6\]",
        "the highest bit of a post's counter, which is 6 or 7: with any other the frame is an error, and not posted",
    ),
    (
        "LinkPort",
        r"inv \$procmux\$308\.Y\[1\]",
        "the timer of announcements goes through 2, 1, 0, 3 where it went through 0, 1, 2, 3: both its periods are "
        "multiples of four, and end where they did",
    ),
    (
        "LinkPort",
        r"const1 words__valid\[0\]",
        "whether the buffer has a word: all of a frame's are in it before the first is written, one in each cycle",
    ),
    (
        "Load",
        r"const0 \$procmux\$328\.Y\[2\]",
        "bit 2 of the error's code, which is 0 in all that Load has: ADDRESS 1, OPERAND 2, AXI_READ 3, REGION 11",
    ),
    (
        "MatrixUnit",
        r"fifo.py:153",
        "whether FEED's queue is full when it is written; FEED reads no more words than fit",
    ),
    (
        "MatrixUnit",
        r"\[(2\d|3[0-2])\] feed.py:\d+",
        "a bit of FEED's address that is only set behind 2**20 words; the first word outside ends the instruction",
    ),
    (
        "MatrixUnit",
        r"const0 rows\[[3-6]\] feed.py",
        "a bit of FEED's reads of a set that is only set beyond 4, half of this case's tm: such a set is refused",
    ),
    (
        "MatrixUnit",
        r"const1 w_valid\[0\] feed.py",
        "the words that were loaded last are loaded again, into the columns where they are, until others come",
    ),
    (
        "MatrixUnit",
        r"cnot0 update_d\d\.overwrite\[0\]",
        "what becomes of a sum is changed in cycles only in which there is none",
    ),
    (
        "MatrixUnit",
        r"const0 pixels__payload\[3[0-6]\]",
        "a bit from 26 on of an address outside, which is its syndrome. The first one is below 2**25: a row and a "
        "column of the source have 12 bits each, and a plane 20",
    ),
    (
        "MatrixUnit",
        r"const0 \$\d+\.Y\[(9|1[0-3])\] pixel_walk.py:175",
        "a bit of the columns left of a row that is only set from 512 on; this case has 256 accumulators",
    ),
    (
        "MatrixUnit",
        r"read__addr\[\d+\] matmul.py:183",
        "what is mixed into the syndrome is bit 30 of an address outside. The first one is below 2**25: a row and a "
        "column of the source have 12 bits each, and a plane 20",
    ),
    (
        "MatrixUnit",
        r"next_body\.\S+ pixel_walk.py:130",
        "inverted in each cycle in which the register keeps its value, so twice before it is read, once",
    ),
    (
        "MatrixUnit",
        r"const1 \$procmux\$311\.S\[0\]",
        "``refused`` is computed in each cycle, not only in one: always from what does not change until it is read",
    ),
    (
        "Requantize",
        r"A\[[0-6]\] requantize.py:173",
        "the hidden bit of a scale, wrong where the exponent is 0 or this bit alone, so 64 at most: the scale is below "
        "2**-62, and any int32 times that is less than a half, with the hidden bit and without",
    ),
    (
        "Store",
        r"cnot1 w_port__data\[105\] fifo.py:162",
        "a bit of a plane's stride, changed where a row has 2**14 words or more: such a row is outside, and no plane "
        "comes after it",
    ),
    (
        "Store",
        r"inv \$procmux\$522\.B\[0\]",
        "what a reset leaves in the ring of last bursts, where nothing is read before it is written",
    ),
    (
        "Store",
        r"const0 \$procmux\$390\.B\[3\]",
        "more than 8 copies whose words wait to be read: DRAM's side takes four ahead of what has been checked",
    ),
    (
        "Store",
        r"\[[67]\] store.py:100",
        "a bit of the beats left of a burst, 0 as a burst has 16 at most",
    ),
    (
        "Store",
        r"checked\[\d+\] store.py:263",
        "changed where 4,096 checked words are in no burst yet: five rows of 768 at most, and what the FIFOs hold",
    ),
    (
        "Vector",
        r"const0 (dest|source_b)_(rows|groups)\[(1[1-9]|20)\]",
        "a bit that is 0 in each address of the 1,536 words: a row begins at the address of its first result, and "
        "nothing comes after one that is outside",
    ),
    (
        "Vector",
        r"const1 \$procmux\$29\.A\[0\]",
        "whether what leaves the table was looked up, while nothing valid leaves it",
    ),
    (
        "Vector",
        r"cnot1 \$\d+\.Y\[10\] requantize.py:184",
        "bit 10 of a rounded product whose bit 9 is set: both are below the half, and so the result is no tie with it "
        "or without",
    ),
    (
        "Vector",
        r"vector_table.py:108",
        "changed where the gap is 2 or 3: with 8 lanes a word has two rows, and the gap is 1",
    ),
    (
        "Vector",
        r"B\[(8|9|1\d)\] vector.py:190",
        "a bit above those of the lanes that there are",
    ),
    (
        "Send",
        r"const1 frames__words__valid\[0\]",
        "whether the buffer has a word: all of a frame's are in it before its header is sent, one in each cycle",
    ),
)
"""(class of the component, pattern for ``mutant source``, reason); the first that fits."""


def reason(component, mutant, source):
    """What is said of it in docs/mutants.md."""
    for name, pattern, text in _REASONS:
        if name == component and re.search(pattern, f"{mutant} {source}"):
            return text
    return "not explained yet"
