// Preloaded into a program: its wall clock is ahead by the seconds that the file CLOCK_AHEAD says; and once, in a thread of the
// name that the file CLOCK_FAILS has, the clock of the number behind it can't be read, which no program expects.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int scan(const char *variable, const char *format, void *first, void *second) {
	const char *path = getenv(variable);
	FILE *file = path ? fopen(path, "r") : NULL;
	int read = file ? fscanf(file, format, first, second) : 0;
	if (file) fclose(file);
	return read >= 1;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
	char own[16] = "", named[16] = "";
	long seconds;
	int number;
	if (scan("CLOCK_FAILS", "%15s %d", named, &number) && number == clock && !pthread_getname_np(pthread_self(), own, sizeof own) && !strcmp(own, named)) {
		unlink(getenv("CLOCK_FAILS"));
		errno = EIO;
		return -1;
	}
	long result = syscall(SYS_clock_gettime, clock, now);
	if (clock == CLOCK_REALTIME && scan("CLOCK_AHEAD", "%ld", &seconds, NULL)) now->tv_sec += seconds;
	return (int)result;
}
