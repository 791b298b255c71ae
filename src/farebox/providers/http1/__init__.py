"""The way out over HTTP/1.1: our own client, because its cost per call decides what the whole gateway costs.

client      HttpUpstream: the Upstream port; templates of request heads, the one retry of a stale connection
request     the head of a request, built from nothing
origin      scheme, host and port of a base URL
proxy       which proxy stands before an origin, and the tunnel through it
pool        the open connections to one origin
connection  one socket: writing, parsing, flow control, time limits
reply       one reply, as its reader sees it
inflate     gzip and deflate, a bounded piece at a time
faults      everything that can go wrong, in our own words
"""
