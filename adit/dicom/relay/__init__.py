"""The relay: how an object gets from the receiver, to which a PACS sent it, to the worker that asked for it.

`handshake` proves both sides to each other, `frames` is what goes over the wire, `sender` is the receiver's end and
`listener` the worker's. Plain TCP within one machine or cluster; nothing goes over it before both sides are proven.
"""
