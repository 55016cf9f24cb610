#define _GNU_SOURCE
#include "csocket.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <malloc.h>

#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>  // needs struct timespec

_Static_assert(
    sizeof(csocket_vector) == sizeof(struct iovec) &&
        offsetof(csocket_vector, length) == offsetof(struct iovec, iov_len),
    "csocket_vector must be a struct iovec");
_Static_assert(
    sizeof(csocket_message) == sizeof(struct mmsghdr) &&
        offsetof(csocket_message, name_length) == offsetof(struct msghdr, msg_namelen) &&
        offsetof(csocket_message, vectors) == offsetof(struct msghdr, msg_iov) &&
        offsetof(csocket_message, vector_count) == offsetof(struct msghdr, msg_iovlen) &&
        offsetof(csocket_message, control) == offsetof(struct msghdr, msg_control) &&
        offsetof(csocket_message, flags) == offsetof(struct msghdr, msg_flags) &&
        offsetof(csocket_message, length) == offsetof(struct mmsghdr, msg_len),
    "csocket_message must be a struct mmsghdr");
_Static_assert(sizeof(csocket_watch) == sizeof(struct iocb), "csocket_watch must hold a struct iocb");

int csocket_sendmmsg(int fd, csocket_message *messages, unsigned int count) {
    return sendmmsg(fd, (struct mmsghdr *)messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int csocket_recvmmsg(int fd, csocket_message *messages, unsigned int count) {
    return recvmmsg(fd, (struct mmsghdr *)messages, count, MSG_DONTWAIT, NULL);
}

int csocket_report_errors(int fd, int is_ipv6) {
    int on = 1, never = IP_PMTUDISC_DONT;
    if (is_ipv6) return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    if (setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &never, sizeof never) != 0) return -1;
    return setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
}

void csocket_set_buffers(int fd, int bytes) {
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

int csocket_read_error(int fd, csocket_error *error, void *destination, void *quoted, unsigned int capacity) {
    union {
        char bytes[512];
        struct cmsghdr alignment;
    } control;
    struct iovec vector = {.iov_base = quoted, .iov_len = capacity};
    struct msghdr message = {
        .msg_name = destination,
        .msg_namelen = sizeof(struct sockaddr_storage),
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t count = recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    error->quoted = (unsigned int)count;
    error->error = 0;
    error->is_icmp = 0;
    error->type = error->code = 0;
    if (message.msg_namelen < sizeof(struct sockaddr_in)) ((struct sockaddr_storage *)destination)->ss_family = AF_UNSPEC;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part != NULL; part = CMSG_NXTHDR(&message, part)) {
        int is_v4 = part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR;
        int is_v6 = part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR;
        if ((!is_v4 && !is_v6) || part->cmsg_len < CMSG_LEN(sizeof(struct sock_extended_err))) continue;
        struct sock_extended_err detail;
        memcpy(&detail, CMSG_DATA(part), sizeof detail);
        error->error = (int)detail.ee_errno;
        error->is_icmp = detail.ee_origin == SO_EE_ORIGIN_ICMP || detail.ee_origin == SO_EE_ORIGIN_ICMP6;
        error->type = detail.ee_type;
        error->code = detail.ee_code;
    }
    return 1;
}

int csocket_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

int csocket_poller_open(unsigned int capacity, unsigned long *poller) {
    *poller = 0;
    return (int)syscall(SYS_io_setup, capacity, poller);
}

int csocket_poller_close(unsigned long poller) { return (int)syscall(SYS_io_destroy, poller); }

int csocket_poller_watch(unsigned long poller, csocket_watch *watch, int fd, short events, int eventfd, uint64_t tag) {
    struct iocb *request = (struct iocb *)watch->storage;
    memset(request, 0, sizeof *request);
    request->aio_lio_opcode = IOCB_CMD_POLL;
    request->aio_fildes = (uint32_t)fd;
    request->aio_buf = (uint64_t)(unsigned short)events;
    request->aio_flags = IOCB_FLAG_RESFD;
    request->aio_resfd = (uint32_t)eventfd;
    request->aio_data = tag;
    return (int)syscall(SYS_io_submit, poller, 1L, &request);
}

int csocket_poller_cancel(unsigned long poller, csocket_watch *watch) {
    struct io_event event;
    return (int)syscall(SYS_io_cancel, poller, (struct iocb *)watch->storage, &event);
}

int csocket_poller_take(unsigned long poller, csocket_ready *ready, int capacity) {
    struct io_event events[64];
    struct timespec none = {0, 0};
    long wanted = capacity < 64 ? capacity : 64;
    long count = syscall(SYS_io_getevents, poller, 0L, wanted, events, &none);
    for (long index = 0; index < count; index++) {
        ready[index].tag = events[index].data;
        ready[index].events = events[index].res < 0 ? 0 : (uint32_t)events[index].res;
    }
    return (int)count;
}

void csocket_describe_thread(const char *name, int niceness) {
    pthread_setname_np(pthread_self(), name);
    setpriority(PRIO_PROCESS, 0, niceness);
}

void csocket_trim_heap(void) { malloc_trim(0); }
