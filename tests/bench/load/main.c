/* Options, the event loop, the commands that come on standard input, the JSON that goes out.
 *
 * All viewers connect at once; a line of JSON says how that went. Then each line on standard input is a command, answered
 * with a line of JSON:
 *
 *   idle SECONDS                 hold the connections: memory and CPU time of the server
 *   run seconds=S [warmup=W] [finals=F] [drain=D] [churn=C] [pids=P,…]
 *                                count what is pushed for S seconds. `begun` is answered first: then something should be
 *                                published. finals: wait so long until everyone has the last state; drain: wait so long
 *                                until nothing comes any more; churn: reconnects per second; pids: more processes to count
 *
 * It ends with standard input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "load.h"

struct options options = {
    .viewers = 100, .groups = 1, .inflight = 128, .dialect = SOCKET_IO, .namespace = "",
    .version_key = "\"v\":", .stamp_key = "\"t\":", .connect_timeout = 60, .slow_rate = 1000,
};
struct totals totals;
struct viewer *viewers;
int poller;

static const u64 QUIET = 600000000u, SLOW_TICK = 50000000u, RSS_TICK = 200000000u;
enum { EVENTS = 512 };

static struct processes server;
static int next_viewer;
static double churn;
static double rss_peak;

static char commands[4096];
static size_t commands_len;
static bool commands_ended;

/* ---- the event loop ---- */

static void read_commands(void)
{
    ssize_t got = read(STDIN_FILENO, commands + commands_len, sizeof commands - 1 - commands_len);
    if (got > 0)
        commands_len += (size_t)got;
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        commands_ended = true;
    commands[commands_len] = '\0';
}

static void connect_more(void)
{
    while (next_viewer < options.viewers && totals.pending < options.inflight)
        viewer_connect(&viewers[next_viewer++]);
}

static void read_slow(u64 now)
{
    static u64 last;
    if (totals.slow == 0 || now - last < SLOW_TICK)
        return;
    double passed = last == 0 ? 0.05 : (double)(now - last) / 1e9;
    last = now;
    for (int i = 0; i < options.viewers; i++) {
        struct viewer *viewer = &viewers[i];
        if (!viewer->slow || viewer->state != READY)
            continue;
        viewer->budget += options.slow_rate * passed;
        if (viewer->budget > options.slow_rate)
            viewer->budget = options.slow_rate;
        if (viewer->budget >= 64)
            viewer_read(viewer, (size_t)viewer->budget);
    }
}

static void reconnect(u64 now)
{
    static u64 last;
    if (churn <= 0) {
        last = 0;
        return;
    }
    if (last == 0)
        last = now;
    for (; (double)(now - last) / 1e9 * churn >= 1; last += (u64)(1e9 / churn)) {
        struct viewer *viewer = NULL;
        for (int tries = 0; tries < 20 && (viewer == NULL || viewer->state != READY || viewer->slow); tries++)
            viewer = &viewers[rand() % options.viewers];
        if (viewer->state != READY || viewer->slow)
            continue; /* hardly anyone is there: the server takes them back more slowly than they leave */
        viewer_leave(viewer);
        totals.reconnects++;
        viewer_connect(viewer);
    }
}

static void watch_memory(u64 now)
{
    static u64 last;
    if (now - last < RSS_TICK)
        return;
    last = now;
    double rss = processes_rss(&server);
    if (rss > rss_peak)
        rss_peak = rss;
}

/* Handle what happens until a time, or until there is enough of it. */
static void pump(u64 until, bool (*enough)(void))
{
    struct epoll_event events[EVENTS];
    for (u64 now = now_ns(); now < until && (enough == NULL || !enough()); now = now_ns()) {
        connect_more();
        u64 rest = (until - now) / 1000000 + 1;
        int count = epoll_wait(poller, events, EVENTS, churn > 0 ? 1 : rest < 10 ? (int)rest : 10);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                read_commands();
            else
                viewer_event(events[i].data.ptr, events[i].events);
        }
        now = now_ns();
        read_slow(now);
        reconnect(now);
        watch_memory(now);
    }
}

static bool all_settled(void)
{
    return next_viewer >= options.viewers && totals.pending == 0;
}

static bool all_final(void)
{
    return totals.pending == 0 && totals.finals >= (u64)(totals.ready - totals.slow);
}

static bool all_quiet(void)
{
    u64 since = totals.last_message > totals.until ? totals.last_message : totals.until;
    return now_ns() - since > QUIET && totals.slow_finals >= (u64)(options.final_mark != NULL ? totals.slow : 0);
}

static bool command_there(void)
{
    return commands_ended || memchr(commands, '\n', commands_len) != NULL;
}

/* ---- reports ---- */

static void print_hist(const char *name, const struct hist *hist)
{
    printf("\"%s_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"n\":%lu},", name, hist_ms(hist, 0.5), hist_ms(hist, 0.99),
           hist->n > 0 ? (double)hist->max / 1e6 : -1, (unsigned long)hist->n);
}

static void connect_all(void)
{
    double rss = processes_rss(&server), cpu = processes_cpu(&server);
    pump(now_ns() + (u64)(options.connect_timeout * 1e9), all_settled);
    double took = totals.last_ready > totals.first_connect ? (double)(totals.last_ready - totals.first_connect) / 1e9 : 0;
    printf("{\"phase\":\"connected\",\"ready\":%d,\"failed\":%d,\"pending\":%d,\"slow\":%d,\"seconds\":%.4f,", totals.ready,
           totals.failed, totals.pending + options.viewers - next_viewer, totals.slow, took);
    print_hist("connect", &totals.connect);
    printf("\"cpu_s\":%.4f,\"rss_before_mb\":%.2f,\"rss_mb\":%.2f,\"accepted_deflate\":%d}\n", processes_cpu(&server) - cpu,
           rss, processes_rss(&server), totals.accepted_deflate);
}

static void idle(double seconds)
{
    double cpu = processes_cpu(&server);
    pump(now_ns() + (u64)(seconds * 1e9), NULL);
    printf("{\"phase\":\"idle\",\"seconds\":%.3f,\"cpu_s\":%.4f,\"rss_mb\":%.2f,\"ready\":%d,\"dropped\":%d}\n", seconds,
           processes_cpu(&server) - cpu, processes_rss(&server), totals.ready, totals.dropped);
}

static void begin(double seconds, double warmup)
{
    hist_clear(&totals.latency);
    hist_clear(&totals.age);
    hist_clear(&totals.final_latency);
    hist_clear(&totals.slow_latency);
    totals.messages = totals.window_messages = totals.frames = totals.window_bytes = totals.last_message = 0;
    totals.lost = totals.repeated = totals.reordered = totals.corrupt = 0;
    totals.finals = totals.slow_finals = totals.last_final = 0;
    for (int i = 0; i < options.viewers; i++) {
        viewers[i].version = viewers[i].shown = 0;
        viewers[i].final = false;
    }
    totals.from = now_ns();
    totals.warm = totals.from + (u64)(warmup * 1e9);
    totals.until = totals.from + (u64)(seconds * 1e9);
    rss_peak = 0;
}

static double argument(const char *command, const char *name, double otherwise)
{
    const char *found = strstr(command, name);
    return found == NULL ? otherwise : atof(found + strlen(name));
}

static void run(const char *command)
{
    double seconds = argument(command, "seconds=", 1), warmup = argument(command, "warmup=", 0);
    double finals = argument(command, "finals=", 0), drain = argument(command, "drain=", 0);
    struct processes before = server;
    const char *pids = strstr(command, "pids=");
    if (pids != NULL)
        processes_add(&server, pids + 5);

    begin(seconds, warmup);
    double cpu = processes_cpu(&server), own = own_cpu(), rss_begun = processes_rss(&server);
    printf("{\"phase\":\"begun\",\"now\":%lu}\n", (unsigned long)totals.from);
    fflush(stdout);
    churn = argument(command, "churn=", 0);
    pump(totals.from + (u64)(seconds * 1e9 / 4), NULL);
    double rss_early = processes_rss(&server);
    pump(totals.until, NULL);
    double window = seconds - warmup, cpu_window = processes_cpu(&server) - cpu, own_window = own_cpu() - own;
    churn = 0;
    if (finals > 0)
        pump(now_ns() + (u64)(finals * 1e9), all_final);
    double cpu_whole = processes_cpu(&server) - cpu, whole = (double)(now_ns() - totals.from) / 1e9;
    if (drain > 0)
        pump(now_ns() + (u64)(drain * 1e9), all_quiet);

    printf("{\"phase\":\"run\",\"seconds\":%.3f,\"messages\":%lu,\"frames\":%lu,\"per_second\":%.1f,\"mb_per_second\":%.3f,",
           seconds, (unsigned long)totals.messages, (unsigned long)totals.frames,
           (double)totals.window_messages / window, (double)totals.window_bytes / window / 1e6);
    print_hist("latency", &totals.latency);
    print_hist("age", &totals.age);
    print_hist("final", &totals.final_latency);
    print_hist("slow", &totals.slow_latency);
    printf("\"finals\":%lu,\"slow_finals\":%lu,\"last_final_s\":%.3f,", (unsigned long)totals.finals,
           (unsigned long)totals.slow_finals,
           totals.last_final > 0 ? (double)(totals.last_final - totals.from) / 1e9 : -1);
    printf("\"lost\":%lu,\"repeated\":%lu,\"reordered\":%lu,\"corrupt\":%lu,", (unsigned long)totals.lost,
           (unsigned long)totals.repeated, (unsigned long)totals.reordered, (unsigned long)totals.corrupt);
    printf("\"cpu_s\":%.4f,\"cpu_whole_s\":%.4f,\"whole_s\":%.3f,\"client_cpu_s\":%.3f,", cpu_window, cpu_whole, whole,
           own_window);
    printf("\"rss_begun_mb\":%.2f,\"rss_early_mb\":%.2f,\"rss_peak_mb\":%.2f,\"rss_mb\":%.2f,", rss_begun, rss_early,
           rss_peak, processes_rss(&server));
    printf("\"quiet\":%s,\"ready\":%d,\"slow_ready\":%d,\"dropped\":%d,\"failed\":%d,\"reconnects\":%d}\n",
           now_ns() - totals.last_message > QUIET ? "true" : "false", totals.ready, totals.slow, totals.dropped,
           totals.failed, totals.reconnects);
    server = before;
}

/* ---- start ---- */

static void obey(void)
{
    for (;;) {
        pump(UINT64_MAX, command_there);
        char *end = memchr(commands, '\n', commands_len);
        if (end == NULL)
            return;
        *end = '\0';
        char command[sizeof commands];
        strcpy(command, commands);
        commands_len -= (size_t)(end + 1 - commands);
        memmove(commands, end + 1, commands_len + 1);
        if (strncmp(command, "idle ", 5) == 0) {
            idle(atof(command + 5));
        } else if (strncmp(command, "run ", 4) == 0) {
            run(command);
        } else {
            fprintf(stderr, "not a command: %s\n", command);
            exit(2);
        }
        fflush(stdout);
    }
}

static void read_values(const char *path)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    while ((len = getline(&line, &cap, file)) > 0) {
        line[strcspn(line, "\n")] = '\0';
        options.values = realloc(options.values, sizeof(char *) * (size_t)(options.value_count + 1));
        options.values[options.value_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

static void usage(void)
{
    fputs("load --port N --viewers N [--groups N] [--dialect socketio|nats|text] [--path T] [--namespace NAME]\n"
          "     [--auth T] [--send T] [--ready TEXT] [--values FILE] [--version-key TEXT] [--stamp-key TEXT]\n"
          "     [--final-mark TEXT] [--piece BYTES] [--output] [--deflate] [--inflight N] [--connect-timeout S]\n"
          "     [--slow SHARE] [--slow-rate BYTES] [--pids P,…] [--show N]\n"
          "T is a template: @i the viewer's index, @g its group, @v its line of FILE. See main.c.\n",
          stderr);
    exit(2);
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'}, {"viewers", 1, 0, 'n'}, {"groups", 1, 0, 'g'}, {"dialect", 1, 0, 'd'},
        {"path", 1, 0, 'P'}, {"namespace", 1, 0, 'N'}, {"auth", 1, 0, 'a'}, {"send", 1, 0, 's'},
        {"ready", 1, 0, 'r'}, {"values", 1, 0, 'V'}, {"version-key", 1, 0, 'v'}, {"stamp-key", 1, 0, 't'},
        {"final-mark", 1, 0, 'f'}, {"piece", 1, 0, 'b'}, {"output", 0, 0, 'o'}, {"deflate", 0, 0, 'z'},
        {"inflight", 1, 0, 'i'}, {"connect-timeout", 1, 0, 'c'}, {"slow", 1, 0, 'S'}, {"slow-rate", 1, 0, 'R'},
        {"pids", 1, 0, 'q'}, {"show", 1, 0, 'w'}, {0, 0, 0, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'n': options.viewers = atoi(optarg); break;
        case 'g': options.groups = atoi(optarg); break;
        case 'd':
            options.dialect = strcmp(optarg, "nats") == 0 ? NATS : strcmp(optarg, "text") == 0 ? TEXT : SOCKET_IO;
            break;
        case 'P': options.path = optarg; break;
        case 'N': options.namespace = optarg; break;
        case 'a': options.auth = optarg; break;
        case 's': options.send = optarg; break;
        case 'r': options.ready = optarg; break;
        case 'V': read_values(optarg); break;
        case 'v': options.version_key = optarg; break;
        case 't': options.stamp_key = optarg; break;
        case 'f': options.final_mark = optarg; break;
        case 'b': options.piece = (size_t)atoi(optarg); break;
        case 'o': options.output = true; break;
        case 'z': options.deflate = true; break;
        case 'i': options.inflight = atoi(optarg); break;
        case 'c': options.connect_timeout = atof(optarg); break;
        case 'S': options.slow_share = atof(optarg); break;
        case 'R': options.slow_rate = atof(optarg); break;
        case 'q': processes_add(&server, optarg); break;
        case 'w': options.show = atoi(optarg); break;
        default: usage();
        }
    }
    bool bad_piece = options.output ? options.piece < 40 : options.piece != 0 && options.piece < 40;
    if (options.port <= 0 || options.viewers <= 0 || options.groups <= 0 || bad_piece || options.piece > 4096 ||
        (options.dialect == NATS && options.send == NULL))
        usage();
    if (options.path == NULL)
        options.path = options.dialect == SOCKET_IO ? "/socket.io/?EIO=4&transport=websocket" : "/";
}

int main(int argc, char **argv)
{
    struct rlimit files;
    read_options(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    poller = epoll_create1(EPOLL_CLOEXEC);
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    viewers = calloc((size_t)options.viewers, sizeof *viewers);
    if (viewers == NULL)
        return 1;
    for (int i = 0; i < options.viewers; i++) {
        viewers[i].fd = -1;
        viewers[i].index = i;
        /* Spread evenly over the groups: the viewers of group 0, then those of group 1, of each the same share. */
        int place = i % options.groups * (options.viewers / options.groups) + i / options.groups;
        viewers[i].slow = (int)((place + 1) * options.slow_share) != (int)(place * options.slow_share);
        totals.slow += viewers[i].slow;
    }
    connect_all();
    fflush(stdout);
    obey();
    return 0;
}
