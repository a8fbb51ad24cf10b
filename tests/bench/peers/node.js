// The app that people write with Node and socket.io: node node.js PORT. Answers like plain.py, in the same words.
'use strict';
const http = require('node:http');
const { Server } = require('socket.io');

const now = () => Number(process.hrtime.bigint());
const LETTERS = Array.from({ length: 4096 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('');
const stats = { done: true, sent: 0, seconds: 0, cpu: 0 };

const snapshot = (group, version, stamp, ended) => ({
  task_id: `t${group}`,
  status: ended ? 'complete' : 'processing',
  progress: {
    current: version % 1000,
    total: 1000,
    message: `Processing chunk number ${version % 1000} of the 1000 chunks of the input file, all is well`,
  },
  v: version,
  t: stamp,
});
const piece = (group, number, stamp, size) => ({
  task_id: `t${group}`,
  text: `#${String(number).padStart(12, '0')}@${String(stamp).padStart(20, '0')} ${LETTERS.slice(35, size)}`,
});

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1');
  if (url.pathname === '/start') {
    publish(Object.fromEntries([...url.searchParams].map(([key, value]) => [key, Number(value)])));
  }
  response.end(JSON.stringify(stats));
});
const io = new Server(server, { transports: ['websocket'] });
io.on('connection', (socket) => {
  socket.on('subscribe', (request, acknowledge) => {
    socket.join(request.task_id);
    acknowledge({ ok: true });
  });
});

// Open loop: everything has a time when it is due, and carries it. It gives up when it is half as long again behind.
function publish({ groups, rate, seconds, finals, piece: size, first }) {
  const began = now();
  const total = Math.floor(rate * seconds);
  const versions = new Array(groups).fill(0);
  let sent = 0;
  Object.assign(stats, { done: false, sent: 0 });
  const emit = (group, stamp) => {
    if (size) io.to(`t${group}`).emit('task_output', piece(group, first + versions[group]++, stamp, size));
    else io.to(`t${group}`).emit('task_progress', snapshot(group, ++versions[group], stamp, false));
  };
  const tick = () => {
    const elapsed = (now() - began) / 1e9;
    if (sent >= total || elapsed > seconds * 1.5 + 1) {
      for (let group = 0; finals && group < groups; group++) {
        io.to(`t${group}`).emit('task_progress', snapshot(group, versions[group] + 1, now(), true));
      }
      Object.assign(stats, { done: true, sent, seconds: elapsed });
      return;
    }
    if (sent < Math.floor(rate * elapsed) + 1) {
      emit(sent % groups, Math.round(began + (sent / rate) * 1e9));
      sent++;
    }
    const rest = sent / rate - (now() - began) / 1e9; // seconds until the next is due
    if (rest > 0.002) setTimeout(tick, Math.floor(rest * 1000));
    else setImmediate(tick);
  };
  tick();
}

server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
