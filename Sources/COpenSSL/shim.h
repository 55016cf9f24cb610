// OpenSSL for Swift: the headers, and as static inline functions the macros that Swift cannot see. No logic.
#pragma once
#include <openssl/ssl.h>
#include <openssl/err.h>
