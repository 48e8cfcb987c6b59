// Data paths whose work is done by C++ (stand_ins.cpp, through DPI): what a node's simulation spends its time on.
// Each is elaborated in place of the RTL by sim/stand_ins.py, has the latency of the RTL to the cycle, and gives the same
// bits wherever the RTL's contract says that there are any. Control, with all that a reset resets, stays RTL.
//
// SUPERLIP_TM and SUPERLIP_TN are the channels of the array. Handles are numbers, in order of construction.

package superlip_stand_ins;
    import "DPI-C" function int superlip_array_new();
    import "DPI-C" function void superlip_array_swap(input int h);
    import "DPI-C" function void superlip_array_multiply(input int h, input bit [8*`SUPERLIP_TN-1:0] x);
    import "DPI-C" function void superlip_array_write(input int h, input int column, input bit [8*`SUPERLIP_TN-1:0] data);
    import "DPI-C" function void superlip_array_take(input int h, output bit [32*`SUPERLIP_TM-1:0] psum);
    import "DPI-C" function void superlip_array_clear(input int h);

    import "DPI-C" function int superlip_banks_new(input int words);
    import "DPI-C" function void superlip_banks_take(input int h, input int reader, output bit [8*`SUPERLIP_TN-1:0] data);
    import "DPI-C" function void superlip_banks_read(input int h, input int reader, input int address);
    import "DPI-C" function void superlip_banks_write(
        input int h, input int address, input bit [8*`SUPERLIP_TN-1:0] data, input bit [`SUPERLIP_TN-1:0] mask);

    import "DPI-C" function int superlip_sums_new(input int words);
    import "DPI-C" function void superlip_sums_add(
        input int h, input bit half, input bit overwrite, input bit [32*`SUPERLIP_TM-1:0] psum);
    import "DPI-C" function void superlip_sums_latch(input int h, input bit half);
    import "DPI-C" function void superlip_sums_fetch(input int h, input int address);
    import "DPI-C" function void superlip_sums_store(input int h, input int address);
    import "DPI-C" function void superlip_sums_done(input int h);
    import "DPI-C" function void superlip_sums_take(input int h, input bit half, output bit [32*`SUPERLIP_TM-1:0] data);

    import "DPI-C" function int superlip_lanes_new();
    import "DPI-C" function void superlip_lanes_step(
        input int h, input bit [8*`SUPERLIP_TN-1:0] act, input bit [32*`SUPERLIP_TM-1:0] acc, input int flags, input int op,
        input int row, input int zp, input int zp_out, input int low, input int high, input int shift, input int lane_max);
    import "DPI-C" function void superlip_lanes_params(input int h, input int index, input bit [8*`SUPERLIP_TN-1:0] word);
    import "DPI-C" function void superlip_lanes_row(input int h, input int index, input int row);
    import "DPI-C" function void superlip_lanes_take(input int h, output bit [8*`SUPERLIP_TN-1:0] o);
    import "DPI-C" function void superlip_lanes_clear(input int h);
endpackage

// rtl/pe_array.py
module superlip_pe_array_stand_in #(parameter COLUMNS = 1) (
    input clk, input clear, input [8*`SUPERLIP_TN-1:0] x, input x_valid, input x_swap,
    input w_valid, input [15:0] w_column, input [8*`SUPERLIP_TN*COLUMNS-1:0] w_data,
    input ready, output reg [32*`SUPERLIP_TM-1:0] psum  // ready: psum of the oldest x appears in the next cycle
);
    import superlip_stand_ins::*;
    int h;
    reg [32*`SUPERLIP_TM-1:0] sums;
    initial h = superlip_array_new();
    always @(posedge clk) begin
        if (clear) superlip_array_clear(h);
        if (ready) begin
            superlip_array_take(h, sums);
            psum <= sums;
        end
        if (x_swap) superlip_array_swap(h);
        if (x_valid) superlip_array_multiply(h, x);
        if (w_valid) for (int i = 0; i < COLUMNS; ++i)
            superlip_array_write(h, COLUMNS * int'(w_column) + i, w_data[8*`SUPERLIP_TN*i +: 8*`SUPERLIP_TN]);
    end
endmodule

// rtl/memory.py, BankedMemory. `read`: accepted; `fetched`: accepted one cycle ago.
module superlip_banks_stand_in #(parameter WORDS = 1, READERS = 1, WRITERS = 1, ADDRESS = 20) (
    input clk,
    input [READERS-1:0] read, input [READERS-1:0] fetched, input [READERS*ADDRESS-1:0] read_address,
    output reg [READERS*8*`SUPERLIP_TN-1:0] read_data,
    input [WRITERS-1:0] write, input [WRITERS*ADDRESS-1:0] write_address,
    input [WRITERS*8*`SUPERLIP_TN-1:0] write_data, input [WRITERS*`SUPERLIP_TN-1:0] write_mask
);
    import superlip_stand_ins::*;
    localparam W = 8 * `SUPERLIP_TN;
    int h;
    reg [W-1:0] word;
    initial h = superlip_banks_new(WORDS);
    always @(posedge clk) begin
        for (int r = 0; r < READERS; ++r)
            if (fetched[r]) begin
                superlip_banks_take(h, r, word);
                read_data[r*W +: W] <= word;
            end
        for (int r = 0; r < READERS; ++r)
            if (read[r]) superlip_banks_read(h, r, int'(read_address[r*ADDRESS +: ADDRESS]));
        for (int w = 0; w < WRITERS; ++w)
            if (write[w])
                superlip_banks_write(h, int'(write_address[w*ADDRESS +: ADDRESS]), write_data[w*W +: W],
                                     write_mask[w*`SUPERLIP_TN +: `SUPERLIP_TN]);
    end
endmodule

// rtl/accumulators.py: two banks with registered reads, and the adders.
module superlip_accumulators_stand_in #(parameter WORDS = 2) (
    input clk,
    input [1:0] fetch, input [15:0] fetch_address,        // of each bank; fetched: one cycle ago
    input [15:0] read_address, input [1:0] read_only,     // VECTOR's, in banks without fetch
    input [1:0] fetched,
    input psum_valid, input half, input overwrite, input [32*`SUPERLIP_TM-1:0] psum,
    input store, input [15:0] store_address,
    input show, input show_half,                          // data: the word that is latched now
    output reg [32*`SUPERLIP_TM-1:0] data
);
    import superlip_stand_ins::*;
    int h;
    reg [32*`SUPERLIP_TM-1:0] word;
    initial h = superlip_sums_new(WORDS);
    always @(posedge clk) begin
        if (psum_valid) superlip_sums_add(h, half, overwrite, psum);
        if (fetched[0]) superlip_sums_latch(h, 0);
        if (fetched[1]) superlip_sums_latch(h, 1);
        if (show) begin
            superlip_sums_take(h, show_half, word);
            data <= word;
        end
        if (fetch[0] | fetch[1]) superlip_sums_fetch(h, int'(fetch_address));
        if (read_only[0] | read_only[1]) superlip_sums_fetch(h, int'(read_address));
        if (store) superlip_sums_store(h, int'(store_address));
        if (psum_valid) superlip_sums_done(h);
    end
endmodule

// rtl/vector_datapath.py
module superlip_vector_stand_in (
    input clk, input clear,
    input valid, input [8*`SUPERLIP_TN-1:0] act, input [32*`SUPERLIP_TM-1:0] acc,
    input present, input second, input first, input last, input use_table, input [2:0] op, input [7:0] row_number,
    input signed [7:0] zp, input signed [7:0] zp_out, input signed [7:0] low, input signed [7:0] high, input [5:0] shift,
    input [1:0] lane_max,
    input params_valid, input [7:0] params_index,
    input row_valid, input [7:0] row_index, input [31:0] row,
    input ready, output reg [8*`SUPERLIP_TN-1:0] o        // ready: the oldest result appears in the next cycle
);
    import superlip_stand_ins::*;
    int h;
    reg [8*`SUPERLIP_TN-1:0] word;
    initial h = superlip_lanes_new();
    always @(posedge clk) begin
        if (clear) superlip_lanes_clear(h);
        if (ready) begin
            superlip_lanes_take(h, word);
            o <= word;
        end
        if (valid)
            superlip_lanes_step(h, act, acc, int'({use_table, last, first, second, present}), int'(op), int'(row_number), int'(zp),
                                int'(zp_out), int'(low), int'(high), int'(shift), int'(lane_max));
        if (params_valid) superlip_lanes_params(h, int'(params_index), act);
        if (row_valid) superlip_lanes_row(h, int'(row_index), row);
    end
endmodule
