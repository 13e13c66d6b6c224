/* getaddrinfo of each argument: name, result, start and end in nanoseconds since the epoch. */
#include <netdb.h>
#include <stdio.h>
#include <time.h>

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

int main(int count, char **names) {
    for (int number = 1; number < count; number++) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = 0;
        long long start = now();
        int error = getaddrinfo(names[number], "80", &hints, &found);
        printf("%s %d %lld %lld\n", names[number], error, start, now());
        if (!error) freeaddrinfo(found);
    }
    return 0;
}
