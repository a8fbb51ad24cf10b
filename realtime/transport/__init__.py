"""How changes reach viewers and viewers reach tasks: Socket.IO and HTTP."""
