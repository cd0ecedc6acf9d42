// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// file is MetalLB's config.json.
type file struct {
	TCPTimeout, PushPullInterval, ProbeTimeout, ProbeInterval, GossipInterval, GossipToTheDeadTime, QueueCheckInterval duration

	IndirectChecks, RetransmitMult, SuspicionMult, SuspicionMaxTimeoutMult, AwarenessMaxMultiplier, GossipNodes int
	HandoffQueueDepth, UDPBufferSize                                                                            int

	DisableTcpPings, GossipVerifyIncoming, GossipVerifyOutgoing, EnableCompression bool
}

type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	*d = duration(value)
	return err
}

func (f *file) apply(config *memberlist.Config) {
	config.TCPTimeout = time.Duration(f.TCPTimeout)
	config.IndirectChecks = f.IndirectChecks
	config.RetransmitMult = f.RetransmitMult
	config.SuspicionMult = f.SuspicionMult
	config.SuspicionMaxTimeoutMult = f.SuspicionMaxTimeoutMult
	config.PushPullInterval = time.Duration(f.PushPullInterval)
	config.ProbeTimeout = time.Duration(f.ProbeTimeout)
	config.ProbeInterval = time.Duration(f.ProbeInterval)
	config.DisableTcpPings = f.DisableTcpPings
	config.AwarenessMaxMultiplier = f.AwarenessMaxMultiplier
	config.GossipNodes = f.GossipNodes
	config.GossipInterval = time.Duration(f.GossipInterval)
	config.GossipToTheDeadTime = time.Duration(f.GossipToTheDeadTime)
	config.GossipVerifyIncoming = f.GossipVerifyIncoming
	config.GossipVerifyOutgoing = f.GossipVerifyOutgoing
	config.EnableCompression = f.EnableCompression
	config.HandoffQueueDepth = f.HandoffQueueDepth
	config.UDPBufferSize = f.UDPBufferSize
	config.QueueCheckInterval = time.Duration(f.QueueCheckInterval)
}
