/*
 * Makes one call of the C library fail in a process that it is preloaded into.
 *
 *   FAULT_CALL   which: open, mkdir, rename, unlink, rmdir, pwrite, fdatasync, fsync, ftruncate, flock,
 *                or flock-steal: the call succeeds, but somebody removes the file just before
 *   FAULT_NTH    the first that fails, counted from 1 among calls that touch FAULT_DIR
 *   FAULT_COUNT  how many fail in a row
 *   FAULT_ERRNO  with what
 *   FAULT_ALSO   a call that fails each time
 *   FAULT_DIR    only files below this folder count
 *   FAULT_LOG    a line for each sync ("fdatasync <bytes of the file>") and each failure ("failed <call>")
 *
 * The first pwrite that fails writes half of its bytes, as a disk does that becomes full.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long seen;

static void note(const char *what, long long bytes) {
    const char *path = getenv("FAULT_LOG");
    if (!path) return;
    char line[128];
    int length = snprintf(line, sizeof line, "%s %lld\n", what, bytes);
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    int log = real_open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (log >= 0 && write(log, line, length) < 0) abort();
    close(log);
}

static int is_ours(const char *path) {
    const char *dir = getenv("FAULT_DIR");
    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

static void path_of(int fd, char path[4096]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, 4095);
    path[length < 0 ? 0 : length] = 0;
}

static int is_our_fd(int fd) {
    char path[4096];
    path_of(fd, path);
    return is_ours(path);
}

/* Which failure of the row this is, from 1; 0: the call is to succeed. */
static long fails(const char *call) {
    const char *always = getenv("FAULT_ALSO"), *wanted = getenv("FAULT_CALL");
    if (always && strcmp(always, call) == 0) {
        errno = atoi(getenv("FAULT_ERRNO"));
        return 1;
    }
    if (!wanted || strcmp(wanted, call) != 0) return 0;
    long nth = atol(getenv("FAULT_NTH")), count = atol(getenv("FAULT_COUNT"));
    long now = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (now < nth || now >= nth + count) return 0;
    note("failed", now);
    errno = atoi(getenv("FAULT_ERRNO"));
    return now - nth + 1;
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    if (is_ours(path) && fails("open")) return -1;
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    return real(path, flags, mode);
}

#define ON_PATH(name, arguments, values, path)                          \
    int name arguments {                                                \
        if (is_ours(path) && fails(#name)) return -1;                   \
        int(*real) arguments = dlsym(RTLD_NEXT, #name);                 \
        return real values;                                             \
    }

ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), path)
ON_PATH(rename, (const char *from, const char *to), (from, to), from)
ON_PATH(unlink, (const char *path), (path), path)
ON_PATH(rmdir, (const char *path), (path), path)

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    long failure = is_our_fd(fd) ? fails("pwrite") : 0;
    if (failure == 1 && length > 1) return real(fd, bytes, length / 2, at);
    if (failure) return -1;
    return real(fd, bytes, length, at);
}

int ftruncate64(int fd, off64_t length) {
    int (*real)(int, off64_t) = dlsym(RTLD_NEXT, "ftruncate64");
    if (is_our_fd(fd) && fails("ftruncate")) return -1;
    return real(fd, length);
}

int flock(int fd, int operation) {
    int (*real)(int, int) = dlsym(RTLD_NEXT, "flock");
    if (is_our_fd(fd) && fails("flock")) return -1;
    if (is_our_fd(fd) && fails("flock-steal")) {
        char path[4096];
        path_of(fd, path);
        unlink(path);
    }
    return real(fd, operation);
}

static int synced(const char *call, int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, call);
    if (!is_our_fd(fd)) return real(fd);
    if (fails(call)) return -1;
    struct stat file;
    int result = real(fd);
    if (result == 0 && fstat(fd, &file) == 0) {
        char what[32];
        snprintf(what, sizeof what, "%s%s", call, S_ISDIR(file.st_mode) ? "-folder" : "");
        note(what, (long long)file.st_size);
    }
    return result;
}

int fdatasync(int fd) { return synced("fdatasync", fd); }
int fsync(int fd) { return synced("fsync", fd); }
