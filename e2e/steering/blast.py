# SPDX-License-Identifier: Apache-2.0
"""Sends datagrams of 18 octets as fast as one processor can: blast.py ADDRESS FLOWS SECONDS.

Prints the number of packets and the nanoseconds that the thread had the processor.

The sender's own context walks the whole way of a packet through the namespaces, so that the thread's time
has all of it.
"""

import ctypes
import os
import socket
import sys
import time

BATCH = 64


class Vector(ctypes.Structure):
    """struct iovec"""
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Header(ctypes.Structure):
    """struct msghdr"""
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint), ("vectors", ctypes.POINTER(Vector)),
                ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Message(ctypes.Structure):
    """struct mmsghdr"""
    _fields_ = [("header", Header), ("sent", ctypes.c_uint)]


def main():
    """Sends and prints."""
    address, flows, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    os.sched_setaffinity(0, {os.cpu_count() - 1})
    send = ctypes.CDLL(None, use_errno=True).sendmmsg
    text = ctypes.create_string_buffer(b"-" * 18, 18)
    vector = Vector(ctypes.addressof(text), 18)
    batch = (Message * BATCH)()
    for message in batch:
        message.header.vectors, message.header.count = ctypes.pointer(vector), 1
    sockets = []
    for number in range(flows):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("0.0.0.0", 20000 + number))
        one.connect((address, 80))
        one.send(b"x")
        one.settimeout(1)
        try:
            one.recv(100)  # the flow is known from now on
        except OSError:
            pass
        one.settimeout(None)
        sockets.append(one)
    print("ready", flush=True)
    sys.stdin.readline()
    total, end = 0, time.monotonic() + seconds
    begun = time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)
    while time.monotonic() < end:
        for one in sockets:
            total += max(0, send(one.fileno(), batch, BATCH, 0))
    print(total, time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) - begun, flush=True)


main()
