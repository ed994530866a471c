// A closed-loop HTTP/1.1 load generator: one thread, epoll, keep-alive connections.
//
//   cc -O2 -o loadgen loadgen.c
//   loadgen HOST PORT CORPUS CONNECTIONS SECONDS MAX_REQUESTS [--loop]
//
// CORPUS is a file of records, each a little-endian u32 length followed by that many bytes of one
// complete request (head and body). The records are sent in the order of the file, each once, by
// whichever connection is free; so ids inside the corpus stay unique. With --loop the file starts
// again at its end. Sending stops after SECONDS, after MAX_REQUESTS (0: no such limit), or at the
// end of the corpus; what is in flight then is still waited for, at most 10 seconds.
//
// Understood in replies: Content-Length, chunked bodies, 204 and 304, a body that ends with the
// connection, 100 Continue. A connection that the server closes is opened again.
//
// Output: one line of JSON with counts by status class and latencies in microseconds.
// Only loopback addresses are accepted.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_PER_WAIT = 256,
    READ_BYTES = 16384,
    FIRST_BUFFER_BYTES = 65536,
    FIRST_LATENCIES = 1 << 20,
    ERROR_TEXT_BYTES = 500,
};
static const uint64_t GRACE_US = 10000000;

typedef struct {
    int fd;
    // The request under way.
    const char *out;
    size_t out_len, out_sent;
    uint64_t started_us;
    int in_flight;
    // The reply, as far as it has been read.
    char *buffer;
    size_t len, capacity;
    int head_done, chunked, closes_after, status;
    size_t head_len;
    long body_len; // -1: not known yet
} connection;

static struct {
    const char *bytes;
    size_t len, offset;
    int loops;
} corpus;

static struct {
    uint64_t by_class[6];
    uint64_t errors, reconnects, bytes_in;
    uint32_t *latencies_us;
    size_t latency_count, latency_capacity;
    char first_error[ERROR_TEXT_BYTES + 100];
} tally;

static struct sockaddr_in server;
static int poll_fd, live_connections, stopping;
static uint64_t requests_sent, requests_max;

static void handle_reply(connection *c);

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static int next_request(const char **bytes, size_t *len) {
    if (stopping || requests_sent >= requests_max) return 0;
    if (corpus.offset + 4 > corpus.len) {
        if (!corpus.loops) return 0;
        corpus.offset = 0;
    }
    uint32_t record_len;
    memcpy(&record_len, corpus.bytes + corpus.offset, 4);
    *bytes = corpus.bytes + corpus.offset + 4;
    *len = record_len;
    corpus.offset += 4 + record_len;
    requests_sent++;
    return 1;
}

static int open_connection(connection *c) {
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0) {
        close(c->fd);
        c->fd = -1;
        return -1;
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e);
    return 0;
}

static void watch_for_room(connection *c, int wanted) {
    struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void send_rest(connection *c) {
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
        if (n > 0) {
            c->out_sent += n;
        } else {
            if (n < 0 && errno == EAGAIN) watch_for_room(c, 1);
            return;
        }
    }
    watch_for_room(c, 0);
}

// Takes the next record of the corpus, or retires the connection when there is none.
static void start_request(connection *c) {
    const char *bytes;
    size_t len;
    if (!next_request(&bytes, &len)) {
        if (c->fd >= 0) close(c->fd);
        c->fd = -1;
        live_connections--;
        return;
    }
    c->out = bytes;
    c->out_len = len;
    c->out_sent = 0;
    c->in_flight = 1;
    c->len = 0;
    c->head_done = c->chunked = c->closes_after = 0;
    c->body_len = -1;
    c->started_us = now_us();
    ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);
    if (n > 0) c->out_sent = n;
    if (c->out_sent < c->out_len) watch_for_room(c, 1);
}

static void reopen(connection *c) {
    if (c->fd >= 0) close(c->fd);
    tally.reconnects++;
    if (open_connection(c) < 0) {
        tally.errors++;
        live_connections--;
        return;
    }
    start_request(c);
}

// Keeps the start of the first reply that was no success, safe to print inside a JSON string.
static void remember_error(const connection *c) {
    if (tally.first_error[0]) return;
    size_t n = c->len < ERROR_TEXT_BYTES ? c->len : ERROR_TEXT_BYTES;
    for (size_t i = 0; i < n; i++) {
        char ch = c->buffer[i];
        tally.first_error[i] = (ch < 32 || ch == '"' || ch == '\\' || ch > 126) ? ' ' : ch;
    }
}

static void finish_request(connection *c) {
    if (tally.latency_count == tally.latency_capacity) {
        tally.latency_capacity *= 2;
        tally.latencies_us = realloc(tally.latencies_us, tally.latency_capacity * sizeof *tally.latencies_us);
    }
    tally.latencies_us[tally.latency_count++] = (uint32_t)(now_us() - c->started_us);
    int status_class = c->status / 100;
    if (status_class < 0 || status_class > 5) status_class = 0;
    tally.by_class[status_class]++;
    if (status_class != 2) remember_error(c);
    c->in_flight = 0;
    if (c->closes_after) {
        reopen(c);
    } else {
        start_request(c);
    }
}

static void read_header_lines(connection *c, char *head_end) {
    char *line = c->buffer;
    while (line < head_end) {
        char *end = memmem(line, head_end + 2 - line, "\r\n", 2);
        if (!end) end = head_end;
        if (!strncasecmp(line, "content-length:", 15)) {
            c->body_len = atol(line + 15);
        } else if (!strncasecmp(line, "transfer-encoding:", 18) && memmem(line, end - line, "chunked", 7)) {
            c->chunked = 1;
        } else if (!strncasecmp(line, "connection:", 11) && memmem(line, end - line, "close", 5)) {
            c->closes_after = 1;
        }
        line = end + 2;
    }
}

// True when the head has been read whole; an interim 100 is dropped and the reply read on.
static int read_head(connection *c) {
    char *end = memmem(c->buffer, c->len, "\r\n\r\n", 4);
    if (!end) return 0;
    c->head_len = end - c->buffer + 4;
    c->head_done = 1;
    c->status = atoi(c->buffer + 9);
    read_header_lines(c, end);
    if (c->status == 204 || c->status == 304) c->body_len = 0;
    if (c->status == 100) {
        memmove(c->buffer, c->buffer + c->head_len, c->len - c->head_len);
        c->len -= c->head_len;
        c->head_done = 0;
        handle_reply(c);
        return 0;
    }
    if (!c->chunked && c->body_len < 0 && !c->closes_after) c->body_len = 0;
    return 1;
}

static int chunks_complete(const connection *c) {
    size_t offset = c->head_len;
    for (;;) {
        char *line_end = memmem(c->buffer + offset, c->len - offset, "\r\n", 2);
        if (!line_end) return 0;
        long size = strtol(c->buffer + offset, 0, 16);
        size_t next = (line_end - c->buffer) + 2 + size + 2;
        if (next > c->len) return 0;
        if (size == 0) return 1;
        offset = next;
    }
}

static void handle_reply(connection *c) {
    if (!c->head_done && !read_head(c)) return;
    if (c->chunked) {
        if (chunks_complete(c)) finish_request(c);
    } else if (c->body_len >= 0 && c->len >= c->head_len + (size_t)c->body_len) {
        finish_request(c);
    }
}

static void handle_close(connection *c) {
    if (c->in_flight && c->head_done && c->body_len < 0 && !c->chunked) {
        c->closes_after = 1;
        finish_request(c);
        return;
    }
    if (c->in_flight) tally.errors++;
    reopen(c);
}

static void handle_readable(connection *c) {
    if (c->len + READ_BYTES > c->capacity) {
        c->capacity *= 2;
        c->buffer = realloc(c->buffer, c->capacity);
    }
    ssize_t n = recv(c->fd, c->buffer + c->len, c->capacity - c->len, 0);
    if (n <= 0) {
        if (!(n < 0 && errno == EAGAIN)) handle_close(c);
        return;
    }
    c->len += n;
    tally.bytes_in += n;
    if (c->in_flight) handle_reply(c);
}

static void drive(uint64_t end_us) {
    struct epoll_event events[EVENTS_PER_WAIT];
    while (live_connections > 0) {
        int n = epoll_wait(poll_fd, events, EVENTS_PER_WAIT, 100);
        uint64_t now = now_us();
        if (now >= end_us) stopping = 1;
        if (now > end_us + GRACE_US) {
            tally.errors += live_connections;
            return;
        }
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (c->fd < 0) continue;
            if (events[i].events & EPOLLOUT) send_rest(c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) handle_readable(c);
        }
    }
}

static void map_corpus(const char *path) {
    int fd = open(path, O_RDONLY);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0) {
        fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
        exit(1);
    }
    corpus.len = info.st_size;
    corpus.bytes = mmap(0, corpus.len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (corpus.bytes == MAP_FAILED) {
        fprintf(stderr, "cannot map %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

static void open_all(connection *connections, int count) {
    for (int i = 0; i < count; i++) {
        connections[i].capacity = FIRST_BUFFER_BYTES;
        connections[i].buffer = malloc(connections[i].capacity);
        if (open_connection(&connections[i]) < 0) {
            fprintf(stderr, "connect failed: %s\n", strerror(errno));
            exit(1);
        }
    }
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t quantile(double q) {
    return tally.latency_count ? tally.latencies_us[(size_t)((tally.latency_count - 1) * q)] : 0;
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_result(double seconds, double cpu) {
    qsort(tally.latencies_us, tally.latency_count, sizeof *tally.latencies_us, by_value);
    printf("{\"reqs\":%zu,\"secs\":%.3f,\"rps\":%.1f,", tally.latency_count, seconds, tally.latency_count / seconds);
    printf("\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,\"max_us\":%u,", quantile(.5), quantile(.9), quantile(.99), quantile(1.0));
    printf("\"s2xx\":%lu,\"s3xx\":%lu,\"s4xx\":%lu,\"s5xx\":%lu,", tally.by_class[2], tally.by_class[3], tally.by_class[4], tally.by_class[5]);
    printf("\"errors\":%lu,\"reconnects\":%lu,\"bytes_in\":%lu,", tally.errors, tally.reconnects, tally.bytes_in);
    printf("\"client_cpu\":%.2f,\"first_err\":\"%s\"}\n", cpu, tally.first_error);
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: loadgen HOST PORT CORPUS CONNECTIONS SECONDS MAX_REQUESTS [--loop]\n");
        return 2;
    }
    for (int i = 7; i < argc; i++) {
        if (!strcmp(argv[i], "--loop")) corpus.loops = 1;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    if ((ntohl(server.sin_addr.s_addr) >> 24) != 127) {
        fprintf(stderr, "loopback only\n");
        return 2;
    }
    map_corpus(argv[3]);
    int count = atoi(argv[4]);
    double seconds = atof(argv[5]);
    requests_max = strtoull(argv[6], 0, 10);
    if (!requests_max) requests_max = UINT64_MAX;
    struct rlimit files = {65536, 65536};
    setrlimit(RLIMIT_NOFILE, &files);
    poll_fd = epoll_create1(0);
    tally.latency_capacity = FIRST_LATENCIES;
    tally.latencies_us = malloc(tally.latency_capacity * sizeof *tally.latencies_us);
    connection *connections = calloc(count, sizeof *connections);
    open_all(connections, count);

    double cpu_before = cpu_seconds();
    uint64_t started = now_us();
    live_connections = count;
    for (int i = 0; i < count; i++) start_request(&connections[i]);
    drive(started + (uint64_t)(seconds * 1e6));
    double elapsed = (now_us() - started) / 1e6;
    print_result(elapsed, cpu_seconds() - cpu_before);
    return 0;
}
