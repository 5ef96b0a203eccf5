// Preloaded into a program: its wall clock is ahead by the seconds that the file CLOCK_AHEAD says, and in the thread that the
// file CLOCK_FAILS names no clock can be read, which no program expects.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int scan(const char *variable, const char *format, void *value) {
	const char *path = getenv(variable);
	FILE *file = path ? fopen(path, "r") : NULL;
	int read = file ? fscanf(file, format, value) : 0;
	if (file) fclose(file);
	return read == 1;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
	char own[16] = "", named[16] = "";
	long seconds;
	if (scan("CLOCK_FAILS", "%15s", named) && !pthread_getname_np(pthread_self(), own, sizeof own) && !strcmp(own, named)) {
		errno = EIO;
		return -1;
	}
	long result = syscall(SYS_clock_gettime, clock, now);
	if (clock == CLOCK_REALTIME && scan("CLOCK_AHEAD", "%ld", &seconds)) now->tv_sec += seconds;
	return (int)result;
}
