/* What is spoken in the frames: Socket.IO 5 over Engine.IO 4, NATS, or nothing but text. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "load.h"

size_t expand(const char *template, const struct viewer *viewer, char *out, size_t cap)
{
    size_t len = 0;
    for (const char *at = template; *at != '\0' && len + 1 < cap; at++) {
        int more = 0;
        if (at[0] == '@' && at[1] == 'i')
            more = snprintf(out + len, cap - len, "%d", viewer->index);
        else if (at[0] == '@' && at[1] == 'g')
            more = snprintf(out + len, cap - len, "%d", viewer->index % options.groups);
        else if (at[0] == '@' && at[1] == 'v' && options.value_count > 0)
            more = snprintf(out + len, cap - len, "%s", options.values[viewer->index % options.value_count]);
        else
            out[len++] = *at;
        if (more > 0) {
            len = len + (size_t)more < cap ? len + (size_t)more : cap - 1;
            at++;
        }
    }
    out[len] = '\0';
    return len;
}

static bool starts(const uint8_t *data, size_t len, const char *text)
{
    size_t size = strlen(text);
    return len >= size && memcmp(data, text, size) == 0;
}

static bool contains(const uint8_t *data, size_t len, const char *text)
{
    return memmem(data, len, text, strlen(text)) != NULL;
}

/* Asks for what is to be seen (--send), where that takes a request of its own. */
static void subscribe(struct viewer *viewer)
{
    char request[4096];
    if (options.send != NULL)
        viewer_send(viewer, request, expand(options.send, viewer, request, sizeof request), WS_TEXT);
    if (options.ready == NULL && viewer->fd >= 0)
        viewer_ready(viewer);
}

void dialect_opened(struct viewer *viewer)
{
    if (options.dialect == TEXT) {
        viewer->state = JOINING;
        subscribe(viewer);
    }
}

/* https://socket.io/docs/v4/socket-io-protocol/ in https://socket.io/docs/v4/engine-io-protocol/ */
static void socket_io(struct viewer *viewer, const uint8_t *data, size_t len, u64 now)
{
    char packet[4096];
    bool named = options.namespace[0] != '\0';
    if (len == 1 && data[0] == '2') {
        viewer_send(viewer, "3", 1, WS_TEXT);
    } else if (viewer->state == OPEN && starts(data, len, "0")) {
        size_t size = (size_t)snprintf(packet, sizeof packet, "40%s%s", options.namespace, named ? "," : "");
        if (options.auth != NULL)
            size += expand(options.auth, viewer, packet + size, sizeof packet - size);
        viewer->state = JOINING;
        viewer_send(viewer, packet, size, WS_TEXT);
    } else if (starts(data, len, "44")) {
        snprintf(packet, sizeof packet, "refused: %.*s", (int)(len < 200 ? len : 200), (const char *)data);
        viewer_lose(viewer, packet);
    } else if (viewer->state == JOINING && starts(data, len, "40")) {
        subscribe(viewer);
    } else if (starts(data, len, "42") || starts(data, len, "43")) {
        if (viewer->state == JOINING && options.ready != NULL && contains(data, len, options.ready))
            viewer_ready(viewer);
        if (options.output)
            picture_output(viewer, data, len, now);
        else if (data[1] == '2')
            picture_messages(viewer, data, len, now);
    }
}

/* https://docs.nats.io/reference/reference-protocols/nats-protocol; --send is the subject. */
static void nats(struct viewer *viewer, const uint8_t *data, size_t len, u64 now)
{
    char request[1024], subject[256];
    if (viewer->state == OPEN && starts(data, len, "INFO")) {
        expand(options.send, viewer, subject, sizeof subject);
        int size = snprintf(request, sizeof request,
                            "CONNECT {\"verbose\":false,\"pedantic\":false,\"protocol\":1}\r\nSUB %s 1\r\nPING\r\n", subject);
        viewer->state = JOINING;
        viewer_send(viewer, request, (size_t)size, WS_BINARY);
    } else if (viewer->state == JOINING && contains(data, len, "PONG")) {
        viewer_ready(viewer);
    } else {
        /* A ping stands before, after or between messages; one between them that is missed is sent again. */
        if (starts(data, len, "PING") || (len >= 6 && memcmp(data + len - 6, "PING\r\n", 6) == 0))
            viewer_send(viewer, "PONG\r\n", 6, WS_BINARY);
        picture_messages(viewer, data, len, now);
    }
}

void dialect_message(struct viewer *viewer, const uint8_t *data, size_t len, u64 now)
{
    if (options.dialect == SOCKET_IO) {
        socket_io(viewer, data, len, now);
    } else if (options.dialect == NATS) {
        nats(viewer, data, len, now);
    } else {
        if (viewer->state == JOINING && options.ready != NULL && contains(data, len, options.ready))
            viewer_ready(viewer);
        picture_messages(viewer, data, len, now);
    }
}
