/* A disk that fails on demand, for one program: loaded with LD_PRELOAD, it stands between SQLite and libc.
 *
 * It watches the files whose path begins with FAULTY_FILES. What is done to them is written to FAULTY_RECORD, so that a
 * test can work out what a power cut would have left. What FAULTY_RULES says fails: a text of lines
 *
 *     CALL SUFFIX ERRNO SKIP TIMES      e.g.  sync .db-wal EIO 0 1
 *
 * CALL is read (where FAULTY_READS is set), open, write, fsync, fdatasync, sync (both of them), truncate, unlink, rename or link; of the write-ahead log
 * also header (the log begins), head (what stands before a page) and page, all of them writes; SUFFIX ends the path, of
 * rename and link that which is there; ERRNO is a name below, KILL (the process kills itself in place of the call), STOP
 * (it stops before the call until it is told to go on), HALF (only half of a write is done, and that is no error) or a
 * number of milliseconds by which the call is late. The first SKIP calls succeed, the next TIMES fail
 * (-1: all). The file is read anew at each call; a rule that has changed counts from the beginning. `free - BYTES`
 * is what statvfs says is free; `thread - EAGAIN SKIP TIMES` is about threads that are to be started; `forget /` lets every sync of the folder FAULTY_FOLDER, whose name is `/`, do nothing.
 * A call that failed is in the record without its data.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 4096
#define MAX_RULES 8
#define MAX_TEXT 1024
#define LOG_HEADER 32
#define FRAME_HEAD 24

enum { WRITE = 'w', SYNC = 's', TRUNCATE = 't', OPEN = 'o', UNLINK = 'u', RENAME = 'r', LINK = 'l' };

struct head { /* little-endian; then `size` bytes: the data of a write, the new name of what is renamed or linked */
    uint8_t kind, failed;
    uint16_t name_bytes;
    uint32_t size, thread;
    uint64_t at;
} __attribute__((packed));

struct rule { char call[16], suffix[64], what[16]; long skip, times; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *names[MAX_FDS]; /* the file of a descriptor, by what follows FAULTY_FILES; NULL: not watched */
static char text[MAX_TEXT];
static struct rule rules[MAX_RULES];
static int rule_count;
static int record = -1;

static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_pread)(int, void *, size_t, off64_t);
static int reads; /* whether reads fail as well: with FAULTY_READS alone, since the rules are read at each of them */
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_open)(const char *, int, ...);
static int (*real_close)(int), (*real_fsync)(int), (*real_fdatasync)(int), (*real_unlink)(const char *);
static int (*real_thread)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
static int (*real_rename)(const char *, const char *), (*real_link)(const char *, const char *);
static int (*real_ftruncate)(int, off64_t), (*real_statvfs)(const char *, struct statvfs64 *);

__attribute__((constructor)) static void begin(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_write = dlsym(RTLD_NEXT, "write");
    reads = getenv("FAULTY_READS") != NULL;
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_thread = dlsym(RTLD_NEXT, "pthread_create");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_link = dlsym(RTLD_NEXT, "link");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_statvfs = dlsym(RTLD_NEXT, "statvfs64");
    const char *path = getenv("FAULTY_RECORD");
    if (path != NULL) record = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static const char *watched(const char *path) {
    const char *files = getenv("FAULTY_FILES"), *folder = getenv("FAULTY_FOLDER");
    if (folder != NULL && path != NULL && strcmp(path, folder) == 0) return "/";
    if (files == NULL || path == NULL || strncmp(path, files, strlen(files)) != 0) return NULL;
    return path + strlen(files);
}

static const char *name_of(int fd) { return fd >= 0 && fd < MAX_FDS ? names[fd] : NULL; }

static void read_rules(void) {
    static const struct rule none;
    char now[MAX_TEXT] = "";
    const char *path = getenv("FAULTY_RULES");
    int fd = path == NULL ? -1 : real_open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got = read(fd, now, sizeof now - 1);
        now[got < 0 ? 0 : got] = 0;
        real_close(fd);
    }
    if (strcmp(now, text) == 0) return;
    strcpy(text, now);
    rule_count = 0;
    for (char *line = strtok(now, "\n"); line != NULL && rule_count < MAX_RULES; line = strtok(NULL, "\n")) {
        struct rule *rule = &rules[rule_count];
        *rule = none;
        if (sscanf(line, "%15s %63s %15s %ld %ld", rule->call, rule->suffix, rule->what, &rule->skip, &rule->times) >= 3)
            rule_count++;
    }
}

static int ends_with(const char *name, const char *suffix) {
    size_t have = strlen(name), want = strlen(suffix);
    return have >= want && strcmp(name + have - want, suffix) == 0;
}

static int errno_of(const char *what) {
    if (strcmp(what, "EIO") == 0) return EIO;
    if (strcmp(what, "EAGAIN") == 0) return EAGAIN;
    if (strcmp(what, "ENOSPC") == 0) return ENOSPC;
    if (strcmp(what, "EDQUOT") == 0) return EDQUOT;
    if (strcmp(what, "EFBIG") == 0) return EFBIG;
    return 0;
}

static int is_of(const struct rule *rule, const char *call) {
    if (strcmp(rule->call, "sync") == 0) return strstr(call, "sync") != NULL;
    if (strcmp(rule->call, "write") == 0) return strcmp(call, "header") == 0 || strcmp(call, "head") == 0 || strcmp(call, "page") == 0;
    return strcmp(rule->call, call) == 0;
}

static const char *part(size_t size) { return size == LOG_HEADER ? "header" : size == FRAME_HEAD ? "head" : "page"; }

/* The errno with which this call is to fail, -1 when half of it is to be done, 0 when all. The lock is held. */
static int fault(const char *call, const char *name) {
    read_rules();
    for (int at = 0; at < rule_count; at++) {
        struct rule *rule = &rules[at];
        if (!is_of(rule, call) || !ends_with(name, rule->suffix)) continue;
        if (rule->skip > 0) { rule->skip--; continue; }
        if (rule->times == 0) continue;
        if (rule->times > 0) rule->times--;
        if (strcmp(rule->what, "KILL") == 0) kill(getpid(), SIGKILL);
        if (strcmp(rule->what, "STOP") == 0) kill(getpid(), SIGSTOP);
        if (strcmp(rule->what, "HALF") == 0) return -1;
        int failure = errno_of(rule->what);
        if (failure != 0) return failure;
        long late_ms = atol(rule->what);
        struct timespec pause = {late_ms / 1000, (late_ms % 1000) * 1000000L};
        nanosleep(&pause, NULL);
    }
    return 0;
}

static void note(int kind, int failed, const char *name, uint64_t at, const void *data, size_t size) {
    if (record < 0) return;
    struct head head = {kind, failed, strlen(name), size, syscall(SYS_gettid), at};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)name, head.name_bytes}, {(void *)data, data == NULL ? 0 : size}};
    if (writev(record, parts, 3) < 0) abort();
}

static int opened(int fd, const char *path) {
    const char *name = watched(path);
    if (fd >= 0 && fd < MAX_FDS && name != NULL) {
        pthread_mutex_lock(&lock);
        names[fd] = strdup(name);
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

static int open_unless_failed(const char *path, int flags, int mode) {
    const char *name = watched(path);
    if (name != NULL) {
        pthread_mutex_lock(&lock);
        int failure = fault("open", name);
        if (failure != 0) note(OPEN, 1, name, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
        if (failure != 0) {
            errno = failure;
            return -1;
        }
    }
    return opened(real_open(path, flags, mode), path);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;
    va_end(more);
    return open_unless_failed(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;
    va_end(more);
    return open_unless_failed(path, flags, mode);
}

int close(int fd) {
    if (name_of(fd) != NULL) {
        pthread_mutex_lock(&lock);
        free(names[fd]);
        names[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    const char *name = name_of(fd);
    if (name == NULL) return real_pwrite(fd, data, size, at);
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    int failure = fault(part(size), name);
    if (failure <= 0) {
        done = real_pwrite(fd, data, failure < 0 && size > 1 ? size / 2 : size, at);
        int of_call = errno;
        if (done > 0) note(WRITE, 0, name, at, data, done);
        failure = of_call;
    } else {
        note(WRITE, 1, name, at, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = failure;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    const char *name = reads ? name_of(fd) : NULL;
    if (name == NULL) return real_pread(fd, data, size, at);
    pthread_mutex_lock(&lock);
    int failure = fault("read", name);
    pthread_mutex_unlock(&lock);
    if (failure <= 0) return real_pread(fd, data, size, at);
    errno = failure;
    return -1;
}

ssize_t pread(int fd, void *data, size_t size, off_t at) { return pread64(fd, data, size, at); }

/* The record has no place for a write at the end of a file: the lock beside the database is written so, no page is. */
ssize_t write(int fd, const void *data, size_t size) {
    const char *name = name_of(fd);
    if (name == NULL) return real_write(fd, data, size);
    pthread_mutex_lock(&lock);
    int failure = fault(part(size), name);
    pthread_mutex_unlock(&lock);
    if (failure <= 0) return real_write(fd, data, failure < 0 && size > 1 ? size / 2 : size);
    errno = failure;
    return -1;
}

static int synced(int fd, const char *call, int (*real)(int)) {
    const char *name = name_of(fd);
    if (name == NULL) return real(fd);
    pthread_mutex_lock(&lock);
    if (fault("forget", name) != 0) {
        pthread_mutex_unlock(&lock);
        return 0;
    }
    int failure = fault(call, name);
    int result = failure == 0 ? real(fd) : -1;
    note(SYNC, result != 0, name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    if (failure != 0) errno = failure;
    return result;
}

int fsync(int fd) { return synced(fd, "fsync", real_fsync); }
int fdatasync(int fd) { return synced(fd, "fdatasync", real_fdatasync); }

int ftruncate64(int fd, off64_t size) {
    const char *name = name_of(fd);
    if (name == NULL) return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    int failure = fault("truncate", name);
    int result = failure == 0 ? real_ftruncate(fd, size) : -1;
    note(TRUNCATE, result != 0, name, size, NULL, 0);
    pthread_mutex_unlock(&lock);
    if (failure != 0) errno = failure;
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* What was done to a name, once it was done; `fresh` is the second one. */
static int named(int kind, const char *call, const char *from, const char *to, int (*real)(const char *, const char *)) {
    const char *name = watched(from), *fresh = watched(to);
    if (name == NULL) return real(from, to);
    pthread_mutex_lock(&lock);
    int failure = fault(call, name);
    int result = failure == 0 ? real(from, to) : -1;
    if (failure == 0) failure = errno;
    if (result == 0) note(kind, 0, name, 0, fresh, fresh == NULL ? 0 : strlen(fresh));
    pthread_mutex_unlock(&lock);
    errno = failure;
    return result;
}

static int removed(const char *path, const char *none) { return real_unlink(path); }

int unlink(const char *path) { return named(UNLINK, "unlink", path, NULL, removed); }
int rename(const char *from, const char *to) { return named(RENAME, "rename", from, to, real_rename); }
int link(const char *from, const char *to) { return named(LINK, "link", from, to, real_link); }

int pthread_create(pthread_t *made, const pthread_attr_t *how, void *(*begin)(void *), void *with) {
    pthread_mutex_lock(&lock);
    int failed = fault("thread", "-");
    pthread_mutex_unlock(&lock);
    return failed > 0 ? failed : real_thread(made, how, begin, with);
}

static int told(const char *path, struct statvfs64 *found) {
    int result = real_statvfs(path, found);
    pthread_mutex_lock(&lock);
    read_rules();
    for (int at = 0; at < rule_count; at++)
        if (strcmp(rules[at].call, "free") == 0)
            found->f_bavail = found->f_bfree = strtoull(rules[at].what, NULL, 10) / found->f_frsize;
    pthread_mutex_unlock(&lock);
    return result;
}

int statvfs64(const char *path, struct statvfs64 *found) { return told(path, found); }
int statvfs(const char *path, struct statvfs *found) { return told(path, (struct statvfs64 *)found); }
