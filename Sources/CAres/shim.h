// c-ares for Swift: the headers alone.
#pragma once
#include <ares.h>
#include <arpa/nameser.h>
