/* A source of names for nsswitch.conf(5) that knows none, and takes its time to say so.
 *
 * NSS_LATE_MS: how long. NSS_LATE_LOG: a file, to which it adds a line for each name: the name, and
 * when it was asked and answered, in nanoseconds since the epoch.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <nss.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static enum nss_status late(const char *name, int *error, int *host_error) {
    long milliseconds = atol(getenv("NSS_LATE_MS"));
    struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    char line[1200];
    long long before = now();
    nanosleep(&pause, NULL);
    int length = snprintf(line, sizeof line, "%s %lld %lld\n", name, before, now());
    int file = open(getenv("NSS_LATE_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (file >= 0 && write(file, line, length) != length)
        abort();
    close(file);
    *error = ENOENT;
    *host_error = HOST_NOT_FOUND;
    return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_late_gethostbyname4_r(const char *name, void **found, char *buffer,
                                           size_t size, int *error, int *host_error, int32_t *ttl) {
    (void)found, (void)buffer, (void)size, (void)ttl;
    return late(name, error, host_error);
}

enum nss_status _nss_late_gethostbyname2_r(const char *name, int family, struct hostent *found,
                                           char *buffer, size_t size, int *error,
                                           int *host_error) {
    (void)family, (void)found, (void)buffer, (void)size;
    return late(name, error, host_error);
}
