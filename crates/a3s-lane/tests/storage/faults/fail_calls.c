/* Preloaded into a process: from the FAIL_AT-th call on that changes a file of the storage, FAIL_COUNT calls fail with FAIL_ERRNO. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
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

static int of_storage(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
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
    }
    errno = failing ? (int)number("FAIL_ERRNO") : before;
    return failing;
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
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, ftruncate, (int fd, off_t size), (fd, size))
WRAP(int, ftruncate64, (int fd, off64_t size), (fd, size))
