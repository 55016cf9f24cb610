// SQLite for Swift: the header, and a macro that Swift can't see.
#pragma once
#include <sqlite3.h>

// Has SQLite copy what is bound.
static inline sqlite3_destructor_type shim_SQLITE_TRANSIENT(void) { return SQLITE_TRANSIENT; }
