// Listing: connections as rows, some at a time, between bursts.
#pragma once
#include "core.h"

namespace uvs {

// Fills `rows` with live connections from record `*cursor` on, looking at no more than `budget`
// records. Returns how many rows; `*cursor` is where to go on, kNoConn when the end was reached.
// A connection that moves nothing is listed once; one created meanwhile may be missed.
uint32_t read_connections(Core& core, uint32_t* cursor, ConnectionRowRecord* rows, uint32_t max,
                          uint32_t budget);

}  // namespace uvs
