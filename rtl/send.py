"""SEND: copies words of a buffer to another node, then posts there."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped

from .copy_address import LOCAL_BITS, CopyRows, CopyWords, local_copy_layout
from .isa import Memory, Opcode
from .link.buffer import FrameBuffer
from .link.frame import FrameStream, post_is_wrong, request_layout
from .parameters import Component, check_config
from .ports import READ_LATENCY, ReadPort, UnitError, UnitInterface

__all__ = ["FrameSource", "Send"]

_JOB = ("memory", "node", "remote_memory", "remote_post", "remote_unit", "remote_counter")
"""Fields of an instruction that are used while it is carried out."""
FRAMES = 8  # that may be read, or wait for the link, at a time: more than two only where they are short


class Send(Component):
    """Reads words, packs them in frames and hands these to the link.

    Words that follow each other at the destination share a frame, up to ``frame_words`` of them and
    whatever their order at the source; so rows merge. A frame is handed over only when all its words have been
    read: it crosses the link without pauses, and one with a word outside its memory never starts. The next
    frame is read meanwhile: one word a cycle, one cycle more for a frame that ends because the next row is
    elsewhere, and 4 between instructions.

    Reset drops instructions and frames that are not yet on their way, and clears the error.

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
        check_config(config)
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

        fields = self.unit.instr.payload.body.shape().members
        job = Signal(data.StructLayout({name: fields[name] for name in _JOB}), reset_less=True)
        walk = self._walk_addresses(m)
        read = self._read(m, walk, job, source)
        gather = self._gather(m, walk, job, source)
        with m.FSM(name="send") as fsm:
            with m.State("IDLE"):
                self._take(m, walk, job)
            with m.State("EMPTY"):
                m.d.comb += [gather.post.eq(1), gather.close.eq(source.frame.ready)]
                with m.If(gather.close):
                    m.next = "IDLE"
            with m.State("WALK"):
                go = walk.valid & source.frame.ready
                m.d.comb += [
                    read.eq(go & walk.inside & gather.joins & ~self.unit.halt),
                    gather.close.eq(Mux(gather.joins, walk.next & (gather.full | walk.last), go)),
                    gather.post.eq(gather.joins & walk.last),
                ]
                with m.If(walk.valid & ~walk.inside & gather.joins):
                    self._fail(m, UnitError.ADDRESS, walk.outside)
                with m.Elif(walk.next & walk.last):
                    m.next = "IDLE"
            # What came before is complete first: which frames leave doesn't depend on the link's pace.
            with m.State("FAULT"), m.If(~source.busy):
                m.d.sync += self.unit.error.valid.eq(1)
        m.d.comb += [
            self.unit.done.eq(source.done),
            self.unit.busy.eq(~fsm.ongoing("IDLE") | source.busy),
            self.unit.stalled.eq(self.unit.busy & ~gather.close & ~walk.next & ~source.progress),
        ]
        return m

    def _take(self, m, walk, job):
        """Take the next instruction, if it makes sense."""
        instr, body = self.unit.instr, self.unit.instr.payload.body
        m.d.comb += instr.ready.eq(~self.unit.halt)
        m.d.sync += [job[name].eq(body[name]) for name in _JOB]
        with m.If(instr.valid & instr.ready):
            with m.If(body.remote_post & post_is_wrong(body.remote_unit, body.remote_counter)):
                self._fail(m, UnitError.OPERAND, Cat(body.remote_unit, body.remote_counter))
            with m.Elif(body.count0 == 0):
                m.next = "EMPTY"
            with m.Elif((body.count1 == 0) | (body.count2 == 0)):
                self._fail(m, UnitError.OPERAND, 0)
            with m.Else():
                m.d.comb += walk.start.eq(1)
                m.next = "WALK"

    def _fail(self, m, code, syndrome):
        m.d.sync += [self.unit.error.code.eq(code), self.unit.error.syndrome.eq(syndrome)]
        m.next = "FAULT"

    def _gather(self, m, walk, job, source):
        """Counts the words of a frame until it is closed: full, at the end, or because the next word goes elsewhere."""
        gather = Signal(data.StructLayout({"joins": 1, "full": 1, "close": 1, "post": 1}))
        fill = Signal(range(self.config.frame_words + 1))
        start, expected = Signal(LOCAL_BITS, reset_less=True), Signal(LOCAL_BITS, reset_less=True)
        first = fill == 0
        with m.If(walk.next):
            m.d.sync += [fill.eq(fill + 1), expected.eq(walk.remote + 1)]
            with m.If(first):
                m.d.sync += start.eq(walk.remote)
        with m.If(gather.close):
            m.d.sync += fill.eq(0)
        request = source.frame.payload.request
        m.d.comb += [
            gather.joins.eq(first | (walk.remote == expected)),
            gather.full.eq(fill == self.config.frame_words - 1),
            request.destination.eq(job.node),
            request.memory.eq(job.remote_memory),
            request.address.eq(Mux(first, walk.remote, start)),
            request.words.eq(fill + walk.next),
            request.post.eq(job.remote_post & gather.post),
            request.unit.eq(job.remote_unit),
            request.counter.eq(job.remote_counter),
            source.frame.payload.final.eq(gather.post),
            source.frame.valid.eq(gather.close),
        ]
        return gather

    def _walk_addresses(self, m):
        """Pairs of local and remote addresses of an instruction, one a cycle from 2 cycles after ``start``."""
        body = self.unit.instr.payload.body
        layout = {"start": 1, "valid": 1, "local": LOCAL_BITS, "remote": LOCAL_BITS, "last": 1, "next": 1}
        walk = Signal(data.StructLayout(layout | {"inside": 1, "outside": LOCAL_BITS}))
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
                *(rows.i.payload[name].eq(body[name]) for name in ("count0", "count1", "count2", "memory")),
                walk[side].eq(words[side].o.payload.addr),
                words[side].o.ready.eq(walk.next),
            ]
        # Both sides have the same counts: they move together.
        local = words["local"].o
        sizes = Array([self.config.act_words, self.config.weight_words])
        local_inside = walk.local < sizes[local.payload.memory]
        m.d.comb += [
            walk.valid.eq(local.valid),
            walk.last.eq(local.payload.last),
            walk.inside.eq(local_inside & ~walk.remote[-1]),
            walk.outside.eq(Mux(local_inside, walk.remote, walk.local)),  # the address that isn't
        ]
        return walk

    def _read(self, m, walk, job, source):
        """The read port of ``job.memory``; what it delivers goes to the frame source."""
        read = Signal()
        ports = {Memory.ACT: self.read_act, Memory.WEIGHT: self.read_weight}
        for memory, port in ports.items():
            m.d.comb += [port.valid.eq(read & (job.memory == memory)), port.addr.eq(walk.local)]
        act, weight = ports[Memory.ACT], ports[Memory.WEIGHT]
        m.d.comb += [
            walk.next.eq((act.valid & act.ready) | (weight.valid & weight.ready)),
            source.asked.eq(walk.next),
            source.word.valid.eq(act.data_valid | weight.data_valid),
            source.word.payload.eq(Mux(act.data_valid, act.data, weight.data)),
        ]
        return read


class FrameSource(Component):
    """Holds words that are being read, and lets a frame go when its last word is there.

    Reset drops its frames.

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
        check_config(config)
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
        depth = self.config.send_words
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
