/* Histograms, and CPU time and memory of other processes. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

u64 now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (u64)time.tv_sec * 1000000000u + (u64)time.tv_nsec;
}

void hist_add(struct hist *hist, u64 value)
{
    size_t slot;
    if (value < 1u << HIST_BITS) {
        slot = value;
    } else {
        int shift = 63 - __builtin_clzll(value) - HIST_BITS;
        slot = ((size_t)(shift + 1) << HIST_BITS) + (size_t)((value >> shift) - (1u << HIST_BITS));
    }
    hist->slot[slot < HIST_SLOTS ? slot : HIST_SLOTS - 1]++;
    hist->n++;
    if (value > hist->max)
        hist->max = value;
}

double hist_ms(const struct hist *hist, double quantile)
{
    if (hist->n == 0)
        return -1;
    u64 wanted = (u64)ceil(quantile * (double)hist->n), seen = 0;
    for (size_t slot = 0; slot < HIST_SLOTS; slot++) {
        seen += hist->slot[slot];
        if (seen >= wanted && seen > 0) {
            u64 value = slot;
            if (slot >= 1u << HIST_BITS) {
                int shift = (int)(slot >> HIST_BITS) - 1;
                value = ((slot & ((1u << HIST_BITS) - 1)) + (1u << HIST_BITS)) << shift;
                value += (1ull << shift) >> 1; /* the middle of the slot */
            }
            return (double)(value < hist->max ? value : hist->max) / 1e6;
        }
    }
    return (double)hist->max / 1e6;
}

void hist_clear(struct hist *hist)
{
    memset(hist, 0, sizeof *hist);
}

void processes_add(struct processes *processes, const char *comma_separated)
{
    for (const char *at = comma_separated; *at != '\0' && processes->count < MAX_PIDS;) {
        char *end;
        long pid = strtol(at, &end, 10);
        if (pid > 0)
            processes->pid[processes->count++] = (int)pid;
        at = *end == ',' ? end + 1 : end + strlen(end);
    }
}

double processes_cpu(struct processes *processes)
{
    double sum = 0;
    for (int i = 0; i < processes->count; i++) {
        clockid_t clock;
        struct timespec time;
        /* All threads of the process, in nanoseconds; /proc/PID/stat has hundredths of a second. */
        if (clock_getcpuclockid(processes->pid[i], &clock) == 0 && clock_gettime(clock, &time) == 0)
            processes->cpu[i] = (double)time.tv_sec + (double)time.tv_nsec / 1e9;
        sum += processes->cpu[i];
    }
    return sum;
}

double processes_rss(const struct processes *processes)
{
    double sum = 0;
    for (int i = 0; i < processes->count; i++) {
        char path[64];
        unsigned long size, resident;
        snprintf(path, sizeof path, "/proc/%d/statm", processes->pid[i]);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        if (fscanf(file, "%lu %lu", &size, &resident) == 2)
            sum += (double)resident * (double)sysconf(_SC_PAGESIZE) / (1024 * 1024);
        fclose(file);
    }
    return sum;
}

double own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}
