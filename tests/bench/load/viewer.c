/* One viewer's connection: TCP, the upgrade, WebSocket frames (RFC 6455). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum {
    READ_AT_ONCE = 256 * 1024,
    LONGEST_FRAME = 4 * 1024 * 1024,
    SLOW_RECEIVE_BUFFER = 4096, /* the kernel doubles it */
    MAX_COMPLAINTS = 3,
};

/* All reading goes through one buffer; only a frame that is not complete is kept with its viewer. */
static uint8_t buffer[LONGEST_FRAME + READ_AT_ONCE + 16];

void viewer_connect(struct viewer *viewer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, small = SLOW_RECEIVE_BUFFER;

    viewer->state = CONNECTING;
    viewer->since = now_ns();
    viewer->budget = 0;
    totals.pending++;
    if (totals.first_connect == 0)
        totals.first_connect = viewer->since;
    viewer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (viewer->fd < 0) {
        viewer_lose(viewer, strerror(errno));
        return;
    }
    setsockopt(viewer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (viewer->slow)
        setsockopt(viewer->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    int result = connect(viewer->fd, (struct sockaddr *)&address, sizeof address);
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = viewer};
    epoll_ctl(poller, EPOLL_CTL_ADD, viewer->fd, &event);
    if (result < 0 && errno != EINPROGRESS)
        viewer_lose(viewer, strerror(errno));
}

static void listen_for(struct viewer *viewer, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = viewer};
    epoll_ctl(poller, EPOLL_CTL_MOD, viewer->fd, &event);
}

static void forget(struct viewer *viewer)
{
    if (viewer->fd >= 0)
        close(viewer->fd);
    viewer->fd = -1;
    free(viewer->rest);
    viewer->rest = NULL;
    viewer->rest_len = viewer->rest_cap = 0;
}

void viewer_leave(struct viewer *viewer)
{
    if (viewer->state == READY)
        totals.ready--;
    if (viewer->final)
        totals.finals--;
    viewer->final = false;
    viewer->version = viewer->shown = 0;
    viewer->state = AWAY;
    forget(viewer);
}

void viewer_lose(struct viewer *viewer, const char *why)
{
    static int complaints;
    if (viewer->state == LOST)
        return;
    if (complaints++ < MAX_COMPLAINTS)
        fprintf(stderr, "viewer %d: %s\n", viewer->index, why);
    if (viewer->state == READY) {
        totals.ready--;
        totals.dropped++;
    } else {
        totals.pending--;
        totals.failed++;
    }
    viewer->state = LOST;
    forget(viewer);
}

void viewer_ready(struct viewer *viewer)
{
    if (viewer->state == READY)
        return;
    viewer->state = READY;
    totals.pending--;
    totals.ready++;
    totals.joined++;
    totals.last_ready = now_ns();
    hist_add(&totals.connect, totals.last_ready - viewer->since);
    if (viewer->slow)
        listen_for(viewer, 0); /* from now on it is read on a budget and not when there is something */
}

void viewer_send(struct viewer *viewer, const void *data, size_t len, int opcode)
{
    uint8_t frame[8192];
    size_t head = 2;
    if (viewer->fd < 0)
        return;
    if (len > sizeof frame - 8) {
        viewer_lose(viewer, "a message to send is too long");
        return;
    }
    frame[0] = (uint8_t)(0x80 | opcode);
    frame[1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
    if (len >= 126) {
        frame[2] = (uint8_t)(len >> 8);
        frame[3] = (uint8_t)len;
        head = 4;
    }
    memset(frame + head, 0, 4); /* the mask: zeros are as good as any here, and change nothing */
    memcpy(frame + head + 4, data, len);
    if (send(viewer->fd, frame, head + 4 + len, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        viewer_lose(viewer, strerror(errno));
}

static void upgrade(struct viewer *viewer)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(viewer->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        viewer_lose(viewer, strerror(error));
        return;
    }
    char request[8192], path[4096];
    expand(options.path, viewer, path, sizeof path);
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n"
                       "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                       path, options.port, options.port,
                       options.deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
    if (send(viewer->fd, request, (size_t)len, MSG_NOSIGNAL) != len) {
        viewer_lose(viewer, "the upgrade could not be sent");
        return;
    }
    viewer->state = UPGRADING;
    listen_for(viewer, EPOLLIN);
}

/* Takes the answer to the upgrade. Returns how many bytes it was, 0 if it is not complete. */
static size_t upgraded(struct viewer *viewer, const uint8_t *data, size_t len)
{
    const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - data) + 4;
    if (memcmp(data, "HTTP/1.1 101", 12) != 0) {
        char why[160];
        snprintf(why, sizeof why, "the upgrade was refused: %.*s", (int)(len < 100 ? len : 100), (const char *)data);
        viewer_lose(viewer, why);
        return head;
    }
    if (memmem(data, head, "permessage-deflate", 18) != NULL)
        totals.accepted_deflate++;
    viewer->state = OPEN;
    dialect_opened(viewer);
    return head;
}

static void frame(struct viewer *viewer, int opcode, bool compressed, const uint8_t *data, size_t len, u64 now)
{
    if (options.show > 0) {
        options.show--;
        fprintf(stderr, "[viewer %d, opcode %d, %zu bytes] %.*s\n", viewer->index, opcode, len,
                (int)(len > 400 ? 400 : len), (const char *)data);
    }
    if (opcode == WS_CLOSE) {
        viewer_lose(viewer, "the server closed the connection");
    } else if (opcode == WS_PING) {
        viewer_send(viewer, data, len < 125 ? len : 125, WS_PONG);
    } else if (compressed) {
        /* What is in it cannot be checked here, so such a server is not measured rather than measured wrongly. */
        viewer_lose(viewer, "the server compresses, which this client does not read: leave --deflate out");
    } else if (opcode != WS_PONG) {
        totals.frames++;
        if (now >= totals.warm && now <= totals.until)
            totals.window_bytes += len;
        dialect_message(viewer, data, len, now);
    }
}

static void frames(struct viewer *viewer, const uint8_t *data, size_t len, u64 now)
{
    size_t at = 0;
    if (viewer->state == UPGRADING)
        at = upgraded(viewer, data, len);
    while (viewer->fd >= 0 && viewer->state >= OPEN && len - at >= 2) {
        const uint8_t *head = data + at;
        size_t size = head[1] & 127, header = 2;
        if (size == 126) {
            if (len - at < 4)
                break;
            size = (size_t)head[2] << 8 | head[3];
            header = 4;
        } else if (size == 127) {
            if (len - at < 10)
                break;
            size = 0;
            for (int i = 2; i < 10; i++)
                size = size << 8 | head[i];
            header = 10;
        }
        if ((head[1] & 0x80) != 0 || size > LONGEST_FRAME) {
            viewer_lose(viewer, "a frame is masked or too long");
            return;
        }
        if (len - at < header + size)
            break;
        frame(viewer, head[0] & 15, (head[0] & 0x40) != 0, head + header, size, now);
        at += header + size;
    }
    if (viewer->fd < 0)
        return;
    size_t rest = len - at;
    if (rest > viewer->rest_cap) {
        viewer->rest = realloc(viewer->rest, rest);
        viewer->rest_cap = rest;
        if (viewer->rest == NULL)
            abort();
    }
    if (rest > 0)
        memcpy(viewer->rest, data + at, rest);
    viewer->rest_len = rest;
}

void viewer_read(struct viewer *viewer, size_t most)
{
    size_t kept = viewer->rest_len;
    if (kept > 0)
        memcpy(buffer, viewer->rest, kept);
    ssize_t got = recv(viewer->fd, buffer + kept, most > 0 && most < READ_AT_ONCE ? most : READ_AT_ONCE, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        viewer_lose(viewer, got == 0 ? "the server hung up" : strerror(errno));
        return;
    }
    if (most > 0)
        viewer->budget -= (double)got;
    frames(viewer, buffer, kept + (size_t)got, now_ns());
}

void viewer_event(struct viewer *viewer, uint32_t events)
{
    if (viewer->fd < 0)
        return;
    if (viewer->state == CONNECTING)
        upgrade(viewer);
    else if (viewer->slow && viewer->state == READY)
        viewer_lose(viewer, "the server cut a slow viewer off"); /* it listens to nothing but hang-ups */
    else if (events != 0)
        viewer_read(viewer, 0);
}
