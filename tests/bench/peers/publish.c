/* Publishes to a broker: publish nats|nchan PORT.
 *
 * Each line on standard input is an order, `GROUPS RATE SECONDS FINALS PIECE FIRST`: RATE messages a second in all, to t0, t1, …
 * in turn, for so long; FINALS 1: an end for each at the end; PIECE > 0: pieces of output of so many bytes, numbered from
 * FIRST on, and not snapshots. It answers `SENT ELAPSED`. Everything has a time when it is due, and carries it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH_BYTES = 30000, BATCH_MESSAGES = 64, LONGEST = 8192 };

static int broker;
static bool to_nats;
static char out[BATCH_BYTES + LONGEST];
static size_t out_len;

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* What the broker answers says nothing that is needed here, but a NATS server wants its pings answered. */
static void read_answers(void)
{
    char answers[65536];
    ssize_t got;
    while ((got = recv(broker, answers, sizeof answers, MSG_DONTWAIT)) > 0)
        if (to_nats && memmem(answers, (size_t)got, "PING\r\n", 6) != NULL && out_len == 0)
            out_len = (size_t)sprintf(out, "PONG\r\n");
    if (got == 0) {
        fprintf(stderr, "the broker hung up\n");
        exit(1);
    }
}

static void flush(void)
{
    size_t sent = 0;
    while (sent < out_len) {
        ssize_t taken = send(broker, out + sent, out_len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (taken > 0) {
            sent += (size_t)taken;
        } else if (errno == EAGAIN) {
            struct pollfd wait = {broker, POLLOUT | POLLIN, 0};
            poll(&wait, 1, 100);
            char answers[65536];
            while (recv(broker, answers, sizeof answers, MSG_DONTWAIT) > 0)
                continue;
        } else {
            perror("send");
            exit(1);
        }
    }
    out_len = 0;
    read_answers();
}

static void message(int group, uint64_t version, uint64_t stamp, bool ended, int piece)
{
    char text[LONGEST / 2];
    int len;
    if (piece > 0) {
        len = sprintf(text, "#%012lu@%020lu ", (unsigned long)version, (unsigned long)stamp);
        for (; len < piece; len++)
            text[len] = (char)('a' + len % 26);
    } else {
        len = sprintf(text,
                      "{\"task_id\":\"t%d\",\"status\":\"%s\",\"progress\":{\"current\":%d,\"total\":1000,\"message\":"
                      "\"Processing chunk number %d of the 1000 chunks of the input file, all is well\"},\"v\":%lu,\"t\":%lu}",
                      group, ended ? "complete" : "processing", (int)(version % 1000), (int)(version % 1000),
                      (unsigned long)version, (unsigned long)stamp);
    }
    if (to_nats)
        out_len += (size_t)sprintf(out + out_len, "PUB t%d %d\r\n%.*s\r\n", group, len, len, text);
    else
        out_len += (size_t)sprintf(out + out_len, "POST /pub?id=t%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%.*s",
                                   group, len, len, text);
}

static void publish(int groups, double rate, double seconds, bool finals, int piece, uint64_t first)
{
    uint64_t *versions = calloc((size_t)groups, sizeof *versions), began = now_ns();
    long sent = 0, total = (long)(rate * seconds), batch = 0;
    double elapsed = 0;
    while (sent < total && (elapsed = (double)(now_ns() - began) / 1e9) < seconds * 1.5 + 1) {
        long due = (long)(rate * elapsed) + 1;
        while (sent < due && sent < total) {
            int group = (int)(sent % groups);
            uint64_t version = piece > 0 ? first + versions[group]++ : ++versions[group];
            message(group, version, began + (uint64_t)((double)sent / rate * 1e9), false, piece);
            sent++;
            if (++batch % BATCH_MESSAGES == 0 || out_len > BATCH_BYTES) {
                flush();
                if ((double)(now_ns() - began) / 1e9 > seconds * 1.5 + 1)
                    break; /* the broker takes less than the rate */
            }
        }
        flush();
        double rest = (double)sent / rate - (double)(now_ns() - began) / 1e9;
        if (rest > 0)
            usleep(rest > 0.001 ? 1000 : (useconds_t)(rest * 1e6));
    }
    elapsed = (double)(now_ns() - began) / 1e9;
    for (int group = 0; finals && group < groups; group++) {
        message(group, versions[group] + 1, now_ns(), true, 0);
        if (out_len > BATCH_BYTES)
            flush();
    }
    flush();
    printf("%ld %.6f\n", sent, elapsed);
    fflush(stdout);
    free(versions);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    to_nats = strcmp(argv[1], "nats") == 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(broker, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("connect");
        return 1;
    }
    if (to_nats) {
        char info[4096];
        if (recv(broker, info, sizeof info, 0) <= 0)
            return 1;
        out_len = (size_t)sprintf(out, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
        flush();
    }
    char *line = NULL;
    size_t cap = 0;
    for (;;) {
        struct pollfd wait[2] = {{STDIN_FILENO, POLLIN, 0}, {broker, POLLIN, 0}};
        poll(wait, 2, -1);
        if (wait[1].revents != 0) {
            read_answers();
            flush();
        }
        if (wait[0].revents == 0)
            continue;
        int groups, finals, piece;
        double rate, seconds;
        unsigned long first;
        if (getline(&line, &cap, stdin) <= 0)
            return 0;
        if (sscanf(line, "%d %lf %lf %d %d %lu", &groups, &rate, &seconds, &finals, &piece, &first) != 6 || groups < 1 ||
            rate <= 0 || piece > LONGEST / 4)
            return 2;
        publish(groups, rate, seconds, finals != 0, piece, first);
    }
}
