// Opens many followers of one live stream and counts what arrives at each.
//
//   cc -O2 -o fanout fanout.c
//   fanout sse|ws HOST PORT PATH FOLLOWERS SECONDS [EXTRA_HEADER...]
//
// Every message of the stream must hold the marker exactly once: a tilde directly followed by a
// double quote, as at the end of a JSON string. It should also hold "ts":N, the sender's
// CLOCK_MONOTONIC in microseconds; a "ts" that is no number is passed over. The bytes of all
// followers are searched for the marker; the lag, arrival minus "ts", is taken on every 20th
// follower. What comes in the same packet as the head of the reply is not counted, so messages
// should only be sent once all are connected.
//
// "READY n connect_secs s" goes to stderr when every follower has its reply's head; from then on
// the program listens for SECONDS and prints one line of JSON. Only loopback is accepted.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_PER_WAIT = 256,
    READ_BYTES = 1 << 18,
    OPENING_AT_ONCE = 64,
    SAMPLE_EVERY = 20,
    HEAD_BYTES = 512,
    REQUEST_BYTES = 2048,
    TIMESTAMP_BYTES = 24, // "ts": and its digits must be in one read to be sampled
};
static const uint64_t CONNECT_LIMIT_US = 60000000;

typedef struct {
    int fd, head_done, sampled;
    int tilde_at_end; // the last read ended between the two bytes of a marker
    uint64_t messages;
    char head[HEAD_BYTES];
    int head_len;
} follower;

static struct {
    follower *all;
    int wanted, opened, ready, dead;
    uint64_t bytes, first_us, last_us;
    uint32_t *lags_us;
    size_t lag_count, lag_capacity;
} state;

static struct sockaddr_in server;
static char request[REQUEST_BYTES];
static int request_len, poll_fd;
static char *buffer;

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static void append_line(const char *line) {
    request_len += snprintf(request + request_len, sizeof request - request_len, "%s\r\n", line);
}

static void build_request(int websocket, const char *path, char **extra, int extra_count) {
    request_len = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", path);
    if (websocket) {
        append_line("Upgrade: websocket");
        append_line("Connection: Upgrade");
        append_line("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
        append_line("Sec-WebSocket-Version: 13");
    } else {
        append_line("Accept: text/event-stream");
    }
    for (int i = 0; i < extra_count; i++) append_line(extra[i]);
    append_line("");
}

static void open_one(void) {
    follower *f = &state.all[state.opened];
    int one = 1;
    f->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(f->fd, (void *)&server, sizeof server)) {
        perror("connect");
        exit(1);
    }
    setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    send(f->fd, request, request_len, 0);
    fcntl(f->fd, F_SETFL, O_NONBLOCK);
    f->sampled = state.opened % SAMPLE_EVERY == 0;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = f};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, f->fd, &e);
    state.opened++;
}

static void read_head(follower *f, ssize_t n) {
    if (f->head_len + n < (ssize_t)sizeof f->head) {
        memcpy(f->head + f->head_len, buffer, n);
        f->head_len += n;
    }
    if (!memmem(f->head, f->head_len, "\r\n\r\n", 4)) return;
    if (strncmp(f->head + 9, "200", 3) && strncmp(f->head + 9, "101", 3)) {
        fprintf(stderr, "bad answer %.300s\n", f->head);
        exit(1);
    }
    f->head_done = 1;
    state.ready++;
}

static void count_marker(follower *f, uint64_t now) {
    f->messages++;
    state.last_us = now;
}

static void count_markers(follower *f, const char *start, const char *end, uint64_t now) {
    if (f->tilde_at_end && *start == '"') count_marker(f, now);
    f->tilde_at_end = 0;
    const char *at = start;
    while ((at = memchr(at, '~', end - at))) {
        if (at + 1 == end) {
            f->tilde_at_end = 1;
        } else if (at[1] == '"') {
            count_marker(f, now);
        }
        at++;
    }
}

static void sample_lags(const char *start, const char *end, uint64_t now) {
    const char *at = start;
    while ((at = memmem(at, end - at, "\"ts\":", 5)) && end - at > TIMESTAMP_BYTES) {
        if (at[5] < '0' || at[5] > '9') { // a time in words, which the frame has besides
            at += 5;
            continue;
        }
        uint64_t sent = strtoull(at + 5, 0, 10);
        if (state.lag_count == state.lag_capacity) {
            state.lag_capacity *= 2;
            state.lags_us = realloc(state.lags_us, state.lag_capacity * sizeof *state.lags_us);
        }
        state.lags_us[state.lag_count++] = now > sent ? now - sent : 0;
        at += 5;
    }
}

static void handle_readable(follower *f, uint64_t now) {
    ssize_t n = recv(f->fd, buffer, READ_BYTES, 0);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) return;
        close(f->fd);
        state.dead++;
        if (!f->head_done) state.ready++;
        return;
    }
    if (!f->head_done) {
        read_head(f, n);
        return;
    }
    state.bytes += n;
    if (!state.first_us) state.first_us = now;
    count_markers(f, buffer, buffer + n, now);
    if (f->sampled) sample_lags(buffer, buffer + n, now);
}

// Opens all followers, says READY, listens for the given time. 0 when it came to its end.
static int follow(double seconds) {
    struct epoll_event events[EVENTS_PER_WAIT];
    uint64_t started = now_us(), ready_at = 0, end = 0;
    for (;;) {
        if (state.opened < state.wanted && state.opened - state.ready < OPENING_AT_ONCE) open_one();
        int opening = state.opened < state.wanted && state.opened - state.ready < OPENING_AT_ONCE;
        int n = epoll_wait(poll_fd, events, EVENTS_PER_WAIT, opening ? 0 : 50);
        uint64_t now = now_us();
        for (int i = 0; i < n; i++) handle_readable(events[i].data.ptr, now);
        if (!ready_at && state.opened == state.wanted && state.ready >= state.wanted) {
            ready_at = now_us();
            end = ready_at + (uint64_t)(seconds * 1e6);
            fprintf(stderr, "READY %d connect_secs %.2f\n", state.ready, (ready_at - started) / 1e6);
            state.first_us = 0;
        }
        if (ready_at && now_us() > end) return 0;
        if (!ready_at && now_us() - started > CONNECT_LIMIT_US) {
            fprintf(stderr, "connect timeout ready=%d\n", state.ready);
            return 1;
        }
    }
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t quantile(double q) {
    return state.lag_count ? state.lags_us[(size_t)((state.lag_count - 1) * q)] : 0;
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_result(void) {
    uint64_t total = 0, fewest = ~0ull, most = 0;
    for (int i = 0; i < state.wanted; i++) {
        uint64_t n = state.all[i].messages;
        total += n;
        if (n < fewest) fewest = n;
        if (n > most) most = n;
    }
    int any = state.first_us && state.last_us > state.first_us;
    double span = any ? (state.last_us - state.first_us) / 1e6 : 0;
    qsort(state.lags_us, state.lag_count, sizeof *state.lags_us, by_value);
    printf("{\"followers\":%d,\"dead\":%d,\"msgs\":%lu,\"min\":%lu,\"max\":%lu,", state.wanted, state.dead, total, fewest, most);
    printf("\"span_secs\":%.3f,\"per_sec\":%.0f,\"MBps\":%.1f,", span, any ? total / span : 0, any ? state.bytes / span / 1e6 : 0);
    printf("\"lag_p50_us\":%u,\"lag_p99_us\":%u,\"lag_max_us\":%u,", quantile(.5), quantile(.99), quantile(1.0));
    printf("\"client_cpu\":%.2f}\n", cpu_seconds());
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: fanout sse|ws HOST PORT PATH FOLLOWERS SECONDS [EXTRA_HEADER...]\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[3]));
    inet_pton(AF_INET, argv[2], &server.sin_addr);
    if ((ntohl(server.sin_addr.s_addr) >> 24) != 127) {
        fprintf(stderr, "loopback only\n");
        return 2;
    }
    struct rlimit files = {65536, 65536};
    setrlimit(RLIMIT_NOFILE, &files);
    build_request(!strcmp(argv[1], "ws"), argv[4], argv + 7, argc - 7);
    state.wanted = atoi(argv[5]);
    state.all = calloc(state.wanted, sizeof *state.all);
    state.lag_capacity = 1 << 20;
    state.lags_us = malloc(state.lag_capacity * sizeof *state.lags_us);
    buffer = malloc(READ_BYTES);
    poll_fd = epoll_create1(0);
    if (follow(atof(argv[6]))) return 1;
    print_result();
    return 0;
}
