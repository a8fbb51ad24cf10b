/* A load client for pushes to many viewers: one process, one thread, epoll, nothing but libc.
 *
 *   main.c      options, the event loop, the commands that come on standard input, the JSON that goes out
 *   viewer.c    one viewer's connection: TCP, the upgrade, WebSocket frames (RFC 6455)
 *   dialect.c   what is spoken in the frames: Socket.IO, NATS, or nothing but text
 *   picture.c   what pushes say: versions and stamps, pieces of output, and whether any was lost
 *   measure.c   histograms, and CPU time and memory of other processes
 *
 * All times are nanoseconds of CLOCK_MONOTONIC, on both sides: publisher and viewers are on one machine.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;

/* ---- measure.c ---- */

enum { HIST_BITS = 6, HIST_SLOTS = 64 << HIST_BITS };

/* Log-linear: 64 slots for each power of two, so a quantile is right to 1.6 %. Values in nanoseconds. */
struct hist {
    u64 slot[HIST_SLOTS];
    u64 n, max;
};

u64 now_ns(void);
void hist_add(struct hist *hist, u64 value);
double hist_ms(const struct hist *hist, double quantile); /* milliseconds; -1 if empty */
void hist_clear(struct hist *hist);

enum { MAX_PIDS = 8 };

/* The processes of the server. One that has ended keeps the CPU time it was last seen with. */
struct processes {
    int pid[MAX_PIDS];
    double cpu[MAX_PIDS];
    int count;
};

void processes_add(struct processes *processes, const char *comma_separated);
double processes_cpu(struct processes *processes);          /* seconds since each began */
double processes_rss(const struct processes *processes);    /* MiB */
double own_cpu(void);                                       /* seconds */

/* ---- viewer.c ---- */

enum state {
    AWAY,       /* not connected */
    CONNECTING, /* TCP */
    UPGRADING,  /* HTTP request sent */
    OPEN,       /* WebSocket; waits for the server's greeting */
    JOINING,    /* has said who it is or what it wants to see */
    READY,      /* sees it */
    LOST,       /* refused or dropped; does not come back */
};

struct viewer {
    int fd, index;
    enum state state;
    bool slow;         /* reads options.slow_rate bytes a second from a small receive buffer */
    bool final;        /* has the last state of its task */
    double budget;     /* bytes that a slow viewer may read now */
    u64 since;         /* when it began to connect */
    u64 version;       /* the newest it was told; 0 = none since the last `run` */
    u64 shown;         /* the stamp of the picture on its screen; 0 = none since the last `run` */
    u64 offset;        /* of the output stream: bytes it has */
    uint8_t *rest;     /* the beginning of a frame of which the end is not there yet */
    size_t rest_len, rest_cap;
};

void viewer_connect(struct viewer *viewer);
void viewer_event(struct viewer *viewer, uint32_t events);
void viewer_read(struct viewer *viewer, size_t most); /* most 0: as much as there is */
void viewer_send(struct viewer *viewer, const void *data, size_t len, int opcode);
void viewer_ready(struct viewer *viewer);
void viewer_leave(struct viewer *viewer);             /* goes away and may come back: churn */
void viewer_lose(struct viewer *viewer, const char *why);

enum { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* ---- dialect.c ---- */

void dialect_opened(struct viewer *viewer);
void dialect_message(struct viewer *viewer, const uint8_t *data, size_t len, u64 now);

/* Puts the viewer's index for @i, its group for @g and its value (--values) for @v. Returns the length. */
size_t expand(const char *template, const struct viewer *viewer, char *out, size_t cap);

/* ---- picture.c ---- */

void picture_messages(struct viewer *viewer, const uint8_t *data, size_t len, u64 now);
void picture_output(struct viewer *viewer, const uint8_t *data, size_t len, u64 now);

/* ---- main.c: what everybody looks at ---- */

enum dialect { SOCKET_IO, NATS, TEXT };

struct options {
    int port, viewers, groups, inflight;
    enum dialect dialect;
    const char *path, *namespace, *auth, *send, *ready; /* templates, see expand() */
    const char *version_key, *stamp_key, *final_mark;
    bool output;        /* pushes are an output stream with offsets */
    size_t piece;       /* bytes of one piece of output; 0: pushes are snapshots */
    bool deflate;       /* offer permessage-deflate, as browsers do */
    double connect_timeout, slow_share, slow_rate;
    int show;           /* print so many frames first */
    char **values;      /* one line each, for @v */
    int value_count;
};

struct totals {
    /* Of connections, since the start. */
    int pending, ready, joined, failed, dropped, reconnects, slow, accepted_deflate;
    u64 first_connect, last_ready;
    struct hist connect;
    /* Of pushes, since the last `run`. */
    u64 from, until, warm;      /* the window: pushes received in it count for rates, those stamped after `warm` for ages */
    u64 messages, window_messages, frames, window_bytes, last_message;
    u64 lost, repeated, reordered, corrupt;
    u64 finals, slow_finals, last_final;
    struct hist latency, age, final_latency, slow_latency;
};

extern struct options options;
extern struct totals totals;
extern struct viewer *viewers;
extern int poller;

#endif
