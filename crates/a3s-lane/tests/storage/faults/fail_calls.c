/*
 * Preloaded into a process: calls that change a file of a storage fail with FAIL_ERRNO, FAIL_COUNT of them from the FAIL_AT-th on, and
 * as long as there is a file FAIL_WHILE. What was synced is written to SYNC_LOG, a path a line. The suites of all languages use it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int of_storage(int fd) {
    char path[4096];
    if (!path_of(fd, path, sizeof path)) return 0;
    const char *name = strrchr(path, '/');
    return name && (!strncmp(name, "/lanes.db", 9) || !strcmp(name, "/running"));
}

static int fails(int fd) {
    int before = errno;
    int failing = 0;
    if (of_storage(fd)) {
        long call = atomic_fetch_add(&calls, 1) + 1;
        long first = number("FAIL_AT");
        failing = first && call >= first && call < first + number("FAIL_COUNT");
        const char *while_there = getenv("FAIL_WHILE");
        if (while_there && access(while_there, F_OK) == 0) failing = 1;
    }
    errno = failing ? (int)number("FAIL_ERRNO") : before;
    return failing;
}

static void log_sync(int fd) {
    int before = errno;
    char path[4097];
    const char *log = getenv("SYNC_LOG");
    int out = log && path_of(fd, path, sizeof path - 1) ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (out >= 0) {
        size_t length = strlen(path);
        path[length] = '\n';
        if (write(out, path, length + 1) < 0) abort();
        close(out);
    }
    errno = before;
}

#define WRAP_SYNC(name)                                                  \
    int name(int fd) {                                                   \
        static int (*next)(int);                                         \
        if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, #name);         \
        if (fails(fd)) return -1;                                        \
        int result = next(fd);                                           \
        if (result == 0) log_sync(fd);                                   \
        return result;                                                   \
    }

#define WRAP(type, name, parameters, arguments)                          \
    type name parameters {                                               \
        static type(*next) parameters;                                   \
        if (!next) next = (type(*) parameters)dlsym(RTLD_NEXT, #name);   \
        return fails(fd) ? -1 : next arguments;                          \
    }

WRAP(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
WRAP(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRAP(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
WRAP_SYNC(fsync)
WRAP_SYNC(fdatasync)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size))
WRAP(int, ftruncate64, (int fd, off64_t size), (fd, size))
