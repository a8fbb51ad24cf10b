/* What pushes say, and whether any was lost.
 *
 * A message has a version and, after it, the stamp of when it was due at its publisher. Pieces of output are the same with
 * a number in the place of the version, and a body that is known beforehand:
 *
 *     #NNNNNNNNNNNN@SSSSSSSSSSSSSSSSSSSS then a space, then letters of the alphabet up to the size of a piece
 *
 * (# 12 digits, the number from 0; @ 20 digits, the stamp; the letter at place i is 'a' + i mod 26). No character of it is
 * escaped in JSON, so that a stretch of the stream is the same text in every frame.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { PIECE_HEAD = 35, LONGEST_PIECE = 4096 };
static const size_t LONGEST_STREAM = (size_t)1 << 30;

static const uint8_t *find(const uint8_t *from, const uint8_t *end, const char *key)
{
    if (from >= end)
        return NULL;
    if (key[1] == '\0')
        return memchr(from, key[0], (size_t)(end - from));
    return memmem(from, (size_t)(end - from), key, strlen(key));
}

static const uint8_t *number(const uint8_t *from, const uint8_t *end, u64 *value)
{
    u64 sum = 0;
    while (from < end && *from >= '0' && *from <= '9')
        sum = sum * 10 + (u64)(*from++ - '0');
    *value = sum;
    return from;
}

/* Whether the body of a piece is what it has to be. */
static bool is_body(const uint8_t *piece)
{
    static uint8_t letters[LONGEST_PIECE];
    if (letters[0] == 0)
        for (size_t i = 0; i < LONGEST_PIECE; i++)
            letters[i] = (uint8_t)('a' + i % 26);
    return piece[PIECE_HEAD - 1] == ' ' &&
           memcmp(piece + PIECE_HEAD, letters + PIECE_HEAD, options.piece - PIECE_HEAD) == 0;
}

static void delivered(struct viewer *viewer, u64 stamp, u64 now)
{
    u64 latency = now > stamp ? now - stamp : 0;
    totals.messages++;
    totals.last_message = now;
    if (now >= totals.warm && now <= totals.until)
        totals.window_messages++;
    if (stamp >= totals.warm) {
        hist_add(viewer->slow ? &totals.slow_latency : &totals.latency, latency);
        /* How old the picture on the screen was just before it changed: fair to those who push each state, and to those
         * who push only the newest. */
        if (!viewer->slow && viewer->shown != 0 && stamp > viewer->shown)
            hist_add(&totals.age, now - viewer->shown);
    }
    if (stamp > viewer->shown)
        viewer->shown = stamp;
}

static void version(struct viewer *viewer, u64 version)
{
    if (viewer->final)
        totals.reordered++;
    else if (version < viewer->version)
        totals.reordered++;
    else if (version == viewer->version)
        totals.repeated++;
    else if (viewer->version != 0 && version > viewer->version + 1)
        totals.lost += version - viewer->version - 1;
    if (version > viewer->version)
        viewer->version = version;
}

void picture_messages(struct viewer *viewer, const uint8_t *data, size_t len, u64 now)
{
    const uint8_t *at = data, *end = data + len, *key;
    u64 told, stamp;
    while ((key = find(at, end, options.version_key)) != NULL) {
        const uint8_t *after = number(key + strlen(options.version_key), end, &told);
        const uint8_t *stamp_key = find(after, end, options.stamp_key);
        if (stamp_key == NULL)
            return; /* a task of which nothing has been published yet */
        after = number(stamp_key + strlen(options.stamp_key), end, &stamp);
        if (stamp < totals.from) { /* of a run before */
            at = after;
            continue;
        }
        delivered(viewer, stamp, now);
        if (options.final_mark != NULL && memmem(at, (size_t)(after - at), options.final_mark, strlen(options.final_mark))) {
            if (viewer->final) {
                totals.repeated++;
            } else {
                viewer->final = true;
                totals.last_final = now;
                hist_add(&totals.final_latency, now > stamp ? now - stamp : 0);
                if (viewer->slow)
                    totals.slow_finals++;
                else
                    totals.finals++;
            }
        } else {
            version(viewer, options.piece > 0 ? told + 1 : told); /* pieces count from 0, which here says "none yet" */
        }
        if (options.piece > 0) {
            if ((size_t)(end - key) < options.piece || !is_body(key)) {
                totals.corrupt++;
                return;
            }
            after = key + options.piece;
        }
        at = after;
    }
}

/* The stream as the first viewer had it, checked once; the others must have the same bytes. */
static struct {
    uint8_t *bytes;
    size_t len, cap;
    u64 *stamps; /* of each whole piece */
    size_t pieces, stamp_cap;
} stream;

static void *grown(void *memory, size_t *cap, size_t wanted, size_t size)
{
    if (wanted <= *cap)
        return memory;
    *cap = wanted * 2;
    memory = realloc(memory, *cap * size);
    if (memory == NULL || *cap * size > LONGEST_STREAM) {
        fprintf(stderr, "the stream is too long to keep\n");
        exit(1);
    }
    return memory;
}

static void extend(const uint8_t *text, size_t len)
{
    stream.bytes = grown(stream.bytes, &stream.cap, stream.len + len, 1);
    memcpy(stream.bytes + stream.len, text, len);
    stream.len += len;
    stream.stamps = grown(stream.stamps, &stream.stamp_cap, stream.len / options.piece + 1, sizeof *stream.stamps);
    while ((stream.pieces + 1) * options.piece <= stream.len) {
        const uint8_t *piece = stream.bytes + stream.pieces * options.piece;
        u64 told = 0, stamp = 0;
        number(piece + 1, piece + PIECE_HEAD, &told);
        number(piece + 14, piece + PIECE_HEAD, &stamp);
        if (piece[0] != '#' || piece[13] != '@' || told != stream.pieces || !is_body(piece))
            totals.corrupt++;
        stream.stamps[stream.pieces++] = stamp;
    }
}

static bool field(const uint8_t *data, size_t len, const char *key, u64 *value)
{
    const uint8_t *found = memmem(data, len, key, strlen(key));
    if (found != NULL)
        number(found + strlen(key), data + len, value);
    return found != NULL;
}

/* `…["task_output",{…,"offset":N,"end":N,"text":"…"}]` */
void picture_output(struct viewer *viewer, const uint8_t *data, size_t len, u64 now)
{
    static const char text_key[] = "\"text\":\"";
    size_t head = len < 400 ? len : 400; /* what comes before the text */
    u64 offset, end;
    if (memmem(data, head, "\"task_output\"", 13) == NULL)
        return;
    const uint8_t *text = memmem(data, head, text_key, sizeof text_key - 1);
    if (text == NULL || !field(data, head, "\"offset\":", &offset) || !field(data, head, "\"end\":", &end)) {
        totals.corrupt++;
        return;
    }
    text += sizeof text_key - 1;
    if (end < offset || text + (end - offset) + 3 != data + len || memcmp(data + len - 3, "\"}]", 3) != 0) {
        totals.corrupt++; /* the offsets do not say how long the text is */
        return;
    }
    if (offset < viewer->offset) { /* told again; what is new in it is taken, so that the next is judged rightly */
        totals.repeated++;
        if (end <= viewer->offset)
            return;
        text += viewer->offset - offset;
        offset = viewer->offset;
    }
    if (offset > viewer->offset)
        totals.lost += (offset - viewer->offset + options.piece - 1) / options.piece;
    if (offset > stream.len) { /* what lies between can be known no more: of no viewer the bytes can be compared */
        fprintf(stderr, "output was lost before any viewer had it: %lu follows %zu\n", (unsigned long)offset, stream.len);
        exit(1);
    }
    size_t known = stream.len < end ? stream.len - offset : end - offset;
    if (memcmp(stream.bytes + offset, text, known) != 0)
        totals.corrupt++;
    if (end > stream.len)
        extend(text + known, end - stream.len);
    /* A piece has arrived with its last byte. */
    for (size_t piece = viewer->offset / options.piece; piece < end / options.piece; piece++)
        delivered(viewer, stream.stamps[piece], now);
    viewer->offset = end;
}
