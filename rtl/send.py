"""SEND: copies words of a buffer to another node, then posts there."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped

from .copy_address import LOCAL_BITS, CopyRows, CopyWords, local_copy_layout
from .isa import Memory, Opcode
from .link.buffer import FrameBuffer
from .link.frame import FrameStream, post_is_wrong, request_layout
from .ports import READ_LATENCY, ReadPort, UnitError, UnitInterface

__all__ = ["FrameSource", "Send"]

FRAMES = 8  # that may be read, or wait for the link, at a time: more than two only where they are short


class Send(wiring.Component):
    """Reads words, packs them in frames and hands these to the link.

    Words that follow each other at the destination share a frame, up to ``frame_words`` of them and
    whatever their order at the source; so rows merge. A frame is handed over only when all its words have been
    read: it crosses the link without pauses, and one with a word outside its memory never starts. The next
    frame is read meanwhile: one word a cycle, one cycle more for a frame that ends because the next row is
    elsewhere, and 4 between instructions.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    unit : Out(UnitInterface(Opcode.SEND))
        ``done`` when the link has taken the last word. Errors: ADDRESS for a local or a remote address
        that doesn't exist (frames before it are sent); OPERAND for a zero ``count1`` or ``count2``, or a
        post to what doesn't exist.
    read_act, read_weight : Out(ReadPort)
    frames : Out(FrameStream)
        While the unit is halted no frame starts; one that has started is completed.
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "unit": Out(UnitInterface(Opcode.SEND)),
                "read_act": Out(ReadPort(config.word_bits)),
                "read_weight": Out(ReadPort(config.word_bits)),
                "frames": Out(FrameStream(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.source = source = FrameSource(self.config)
        m.d.comb += source.halt.eq(self.unit.halt)
        connect(m, source.frames, flipped(self.frames))

        job = Signal(self.unit.instr.payload.body.shape(), reset_less=True)
        walk = self._walk_addresses(m)
        read = self._read(m, job, source)
        inside, address = self._check(walk, job)

        fill = Signal(range(self.config.frame_words + 1))
        start, expected = Signal(LOCAL_BITS, reset_less=True), Signal(LOCAL_BITS, reset_less=True)
        joins = (fill == 0) | (walk.remote == expected)
        full = fill == self.config.frame_words - 1
        empty, close, post = Signal(), Signal(), Signal()
        frame = source.frame.payload
        m.d.comb += [
            frame.request.destination.eq(job.node),
            frame.request.memory.eq(job.remote_memory),
            frame.request.address.eq(Mux(empty, job.remote, Mux(fill == 0, walk.remote, start))),
            frame.request.words.eq(fill + read.taken),
            frame.request.post.eq(job.remote_post & post),
            frame.request.unit.eq(job.remote_unit),
            frame.request.counter.eq(job.remote_counter),
            frame.final.eq(post),
            source.frame.valid.eq(close),
            read.addr.eq(walk.local),
            walk.next.eq(read.taken),
        ]
        with m.If(read.taken):
            m.d.sync += [fill.eq(fill + 1), expected.eq(walk.remote + 1)]
            with m.If(fill == 0):
                m.d.sync += start.eq(walk.remote)
        with m.If(close):
            m.d.sync += fill.eq(0)

        instr, body = self.unit.instr, self.unit.instr.payload.body
        fault = Signal(4, reset_less=True)  # UnitError
        syndrome = Signal(32, reset_less=True)
        wrong_count = (body.count0 != 0) & ((body.count1 == 0) | (body.count2 == 0))
        wrong_post = body.remote_post & post_is_wrong(body.remote_unit, body.remote_counter)
        with m.FSM(name="send") as fsm:
            with m.State("IDLE"):
                m.d.comb += instr.ready.eq(~self.unit.halt)
                m.d.sync += [job.eq(body), fault.eq(UnitError.OPERAND)]
                m.d.sync += syndrome.eq(Mux(wrong_count, 0, Cat(body.remote_unit, body.remote_counter)))
                with m.If(instr.valid & instr.ready):
                    m.next = "WALK"
                    m.d.comb += walk.start.eq((body.count0 != 0) & ~wrong_count & ~wrong_post)
                    with m.If(wrong_count | wrong_post):
                        m.next = "FAULT"
                    with m.Elif(body.count0 == 0):
                        m.next = "EMPTY"
            with m.State("EMPTY"):
                m.d.comb += [empty.eq(1), post.eq(1), close.eq(source.frame.ready)]
                with m.If(close):
                    m.next = "IDLE"
            with m.State("WALK"):
                m.d.sync += [fault.eq(UnitError.ADDRESS), syndrome.eq(address)]
                m.d.comb += [
                    read.valid.eq(walk.valid & inside & joins & source.frame.ready & ~self.unit.halt),
                    close.eq(Mux(joins, read.taken & (full | walk.last), walk.valid & source.frame.ready)),
                    post.eq(joins & walk.last),
                ]
                with m.If(walk.valid & ~inside):
                    m.next = "FAULT"
                with m.Elif(read.taken & walk.last):
                    m.next = "IDLE"
            # What came before is complete first: which frames leave doesn't depend on the link's pace.
            with m.State("FAULT"), m.If(~source.busy):
                m.d.sync += [
                    self.unit.error.valid.eq(1),
                    self.unit.error.code.eq(fault),
                    self.unit.error.syndrome.eq(syndrome),
                ]
        m.d.comb += [
            self.unit.done.eq(source.done),
            self.unit.busy.eq(~fsm.ongoing("IDLE") | source.busy),
            self.unit.stalled.eq(self.unit.busy & ~close & ~read.taken & ~source.progress),
        ]
        return m

    def _walk_addresses(self, m):
        """Pairs of local and remote addresses of an instruction, one a cycle from 2 cycles after ``start``."""
        body = self.unit.instr.payload.body
        walk = Signal(
            data.StructLayout({"start": 1, "valid": 1, "local": LOCAL_BITS, "remote": LOCAL_BITS, "last": 1, "next": 1})
        )
        words = {}
        for side in ("local", "remote"):
            rows = CopyRows(local_copy_layout(Opcode.SEND))
            words[side] = CopyWords(Opcode.SEND)
            m.submodules[f"{side}_rows"], m.submodules[f"{side}_words"] = rows, words[side]
            connect(m, rows.o, words[side].i)
            m.d.comb += [
                rows.i.valid.eq(walk.start),
                rows.i.payload.start.eq(body[side]),
                rows.i.payload.stride1.eq(body[f"{side}_stride1"]),
                rows.i.payload.stride2.eq(body[f"{side}_stride2"]),
                *(rows.i.payload[name].eq(body[name]) for name in ("count0", "count1", "count2")),
                walk[side].eq(words[side].o.payload.addr),
                words[side].o.ready.eq(walk.next),
            ]
        # Both sides have the same counts: they move together.
        m.d.comb += [walk.valid.eq(words["local"].o.valid), walk.last.eq(words["local"].o.payload.last)]
        return walk

    def _check(self, walk, job):
        """(inside, the address that isn't) of the word that is to be read."""
        sizes = Array([self.config.act_words, self.config.weight_words])
        local_inside = walk.local < sizes[job.memory]
        remote_inside = ~walk.remote[-1]
        return local_inside & remote_inside, Mux(local_inside, walk.remote, walk.local)

    def _read(self, m, job, source):
        """One read port of the two; what it delivers goes to the frame source."""
        read = Signal(data.StructLayout({"valid": 1, "addr": LOCAL_BITS, "taken": 1}))
        ports = {Memory.ACT: self.read_act, Memory.WEIGHT: self.read_weight}
        for memory, port in ports.items():
            m.d.comb += [port.valid.eq(read.valid & (job.memory == memory)), port.addr.eq(read.addr)]
        act, weight = ports[Memory.ACT], ports[Memory.WEIGHT]
        m.d.comb += [
            read.taken.eq((act.valid & act.ready) | (weight.valid & weight.ready)),
            source.asked.eq(read.taken),
            source.word.valid.eq(act.data_valid | weight.data_valid),
            source.word.payload.eq(Mux(act.data_valid, act.data, weight.data)),
        ]
        return read


class FrameSource(wiring.Component):
    """Holds words that are being read, and lets a frame go when its last word is there.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    frame : In(stream of request and ``final``)
        A frame ends with the last word asked for up to and including this cycle. ``final``: raise ``done`` for it.
        ``ready``: there is room for a frame and for one more word.
    asked : In(1)
        A read was accepted: its word follows READ_LATENCY cycles later.
    word : In(stream of words, always ready)
    frames : Out(FrameStream)
    halt : In(1)
        Start no frame.
    done : Out(1)
        The link has taken the last word of a final frame.
    busy, progress : Out(1)
        Frames are waiting or on their way; the link takes something in this cycle.
    """

    def __init__(self, config):
        self.config = config
        self.layout = data.StructLayout({"request": request_layout(), "final": 1})
        super().__init__(
            {
                "frame": In(stream.Signature(self.layout)),
                "asked": In(1),
                "word": In(stream.Signature(config.word_bits, always_ready=True)),
                "frames": Out(FrameStream(config)),
                "halt": In(1),
                "done": Out(1),
                "busy": Out(1),
                "progress": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = max(8, 2 * self.config.frame_words)
        m.submodules.buffer = buffer = FrameBuffer(self.config.word_bits, depth=depth)
        m.submodules.queue = queue = SyncFIFO(width=self.layout.size, depth=FRAMES)
        head = data.View(self.layout, queue.r_data)
        header, words = self.frames.header, self.frames.words

        in_flight = Signal(READ_LATENCY)  # ends of frames on their way through the buffer that is read
        whole = Signal(range(FRAMES + 1))  # frames in the queue whose words are all here
        held = Signal(range(depth + 1))  # words asked for and not yet taken by the link
        ended, arrived, header_taken, word_taken, finished = (Signal() for _ in range(5))
        m.d.comb += [
            ended.eq(self.frame.valid & self.frame.ready),
            self.frame.ready.eq(queue.w_rdy & (held != depth)),
            queue.w_en.eq(ended),
            queue.w_data.eq(self.frame.payload),
            queue.r_en.eq(finished),
            arrived.eq(in_flight[-1]),
            buffer.write.eq(self.word.valid),
            buffer.data.eq(self.word.payload),
            buffer.commit.eq(arrived),
        ]
        m.d.sync += [
            in_flight.eq(Cat(ended, in_flight)),
            whole.eq(whole + arrived - finished),
            held.eq(held + self.asked - word_taken),
        ]

        left = Signal.like(head.request.words, reset_less=True)
        m.d.comb += [header.payload.eq(head.request), words.payload.eq(buffer.o.payload)]
        with m.FSM(name="frame_source"):
            with m.State("HEADER"):
                m.d.comb += [
                    header.valid.eq((whole != 0) & ~self.halt),
                    header_taken.eq(header.valid & header.ready),
                ]
                m.d.sync += left.eq(head.request.words)
                with m.If(header_taken):
                    with m.If(head.request.words == 0):
                        m.d.comb += finished.eq(1)
                    with m.Else():
                        m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += [
                    words.valid.eq(buffer.o.valid),
                    buffer.o.ready.eq(words.ready),
                    word_taken.eq(words.valid & words.ready),
                ]
                with m.If(word_taken):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.d.comb += finished.eq(1)
                        m.next = "HEADER"
        m.d.comb += [
            self.done.eq(finished & head.final),
            self.busy.eq(queue.r_rdy | in_flight.any()),
            self.progress.eq(header_taken | word_taken),
        ]
        return m
