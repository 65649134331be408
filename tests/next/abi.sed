# The next ABI, made up: what a later version may do to weir_abi.h and maps.h. Fields are put in the
# middle, moved and made wider, a reason is added, structs grow. Run with sed -E.
s/(#define WEIR_ABI_VERSION) 5$/\1 6/
s/(X\(TAP_SKIPPED, .*\*\/)$/\1 \\\n\tX(NEXT_REASON, "next_reason")/

# What they say of their sizes is not true any more.
/_Static_assert\(sizeof\(struct weir_(config|tenant|slot|flow|flow_view)\)/{
	/;$/!N
	d
}

# weir_config: a field in the middle, one moved to the end
/^\tweir_u64 maps_id;/i\	weir_u64 next_setting;

# weir_tenant: a cache line of new ones, a wider one, two that changed places
/^struct weir_tenant \{/,/^\};/{
	s/weir_u16 max_half_open;/weir_u32 max_half_open;/
	/^\tweir_u32 max_connections;/i\	weir_u32 next_pad;
	/^\tweir_u64 connect_interval_ns;/i\	weir_u64 next_line[7];
	s/^\tweir_s32 connections;/\tweir_s32 swapped;/
	s/^\tweir_s32 inflight;/\tweir_s32 connections;/
	s/^\tweir_s32 swapped;/\tweir_s32 inflight;/
}
/_Static_assert\(__builtin_offsetof\(struct weir_tenant/,/\);/d

# weir_slot, the flow and what is beside it
/^struct weir_slot \{/,/^\};/s/weir_u16 service;/weir_u32 service;/
/^struct weir_flow(_view)? \{/,/^\};/{
	/^\tweir_u32 flags;/a\	weir_u64 next_flow;
}
/^struct weir_denial \{/a\	weir_u64 next_denial;
/^struct weir_linger \{/a\	weir_u64 next_linger;
/^struct weir_reader \{/a\	weir_u64 next_reader;
