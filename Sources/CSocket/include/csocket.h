// What Linux offers for datagram sockets and Swift cannot call: sendmmsg, recvmmsg, the error queue's control messages,
// and the kernel's asynchronous poll. Thin wrappers, no logic; every call returns what the system call returns.
#pragma once
// No header of the system is included here, lest Swift take its types for this module's.
#include <stddef.h>
#include <stdint.h>

/// A struct iovec.
typedef struct {
    void *base;
    size_t length;
} csocket_vector;

/// A struct mmsghdr.
typedef struct {
    void *name;
    uint32_t name_length;
    csocket_vector *vectors;
    size_t vector_count;
    void *control;
    size_t control_length;
    int flags;
    int padding;
    unsigned int length;
} csocket_message;

int csocket_sendmmsg(int fd, csocket_message *messages, unsigned int count);
int csocket_recvmmsg(int fd, csocket_message *messages, unsigned int count);

/// Turns IP_RECVERR (or IPV6_RECVERR) on and path MTU discovery off.
int csocket_report_errors(int fd, int is_ipv6);

/// Raises the kernel's buffers, past the system's limit where the process may.
void csocket_set_buffers(int fd, int bytes);

/// One entry of a socket's error queue (ip(7), IP_RECVERR).
typedef struct {
    int error;
    int is_icmp;
    uint8_t type;
    uint8_t code;
    /// Bytes of the datagram in question that were quoted, copied to the caller's buffer.
    unsigned int quoted;
} csocket_error;

/// 1: an entry was read; 0: the queue is empty; -1: errno. `destination` is a struct sockaddr_storage for where the
/// datagram was going.
int csocket_read_error(int fd, csocket_error *error, void *destination, void *quoted, unsigned int capacity);

/// A request for one report when a descriptor becomes ready (linux/aio_abi.h, IOCB_CMD_POLL). It must stay where it is
/// from `csocket_poller_watch` until its report has been read.
typedef struct {
    _Alignas(8) uint8_t storage[64];
} csocket_watch;

typedef struct {
    uint64_t tag;
    uint32_t events;
} csocket_ready;

int csocket_eventfd(void);
int csocket_poller_open(unsigned int capacity, unsigned long *poller);
int csocket_poller_close(unsigned long poller);
/// Asks for one report with `tag` when `fd` has one of `events` (poll(2)) or an error; it is counted on `eventfd`.
int csocket_poller_watch(unsigned long poller, csocket_watch *watch, int fd, short events, int eventfd, uint64_t tag);
/// Withdraws the request; a report may still come.
int csocket_poller_cancel(unsigned long poller, csocket_watch *watch);
/// Reads up to `capacity` reports (at most 64) and never waits.
int csocket_poller_take(unsigned long poller, csocket_ready *ready, int capacity);

/// Names the calling thread (pthread_setname_np, which Glibc's module map lacks) and makes it this much nicer than others;
/// Linux counts niceness by thread.
void csocket_describe_thread(const char *name, int niceness);

/// Gives memory that was freed back to the system (malloc_trim, which Glibc's module map lacks).
void csocket_trim_heap(void);
