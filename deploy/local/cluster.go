package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Cluster is several RabbitMQ nodes that are one broker, on this machine. It is for tests:
// its nodes are killed one by one, which shows what a cluster is for; how fast it is shows
// nothing, since all of them have the same processors and the same disk.
type Cluster struct {
	Nodes []*RabbitMQ

	names *server // where the nodes find each other; it outlives each of them
}

// StartCluster starts n nodes below dir, one after the other, and returns when they are one
// cluster. Whatever is started is ended by Kill. Docker is not used.
func StartCluster(ctx context.Context, dir string, n int) (*Cluster, error) {
	c := &Cluster{names: &server{name: "epmd", dir: dir, logFile: filepath.Join(dir, "epmd.log")}}
	if err := c.start(ctx, n); err != nil {
		c.Kill()
		return nil, fmt.Errorf("a cluster of %d nodes: %w", n, err)
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, n int) error {
	if _, err := findRabbitMQ(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.names.dir, 0o700); err != nil {
		return err
	}
	port, err := freePort(nil)
	if err != nil {
		return err
	}
	if c.names.proc, err = c.names.startEPMD(ctx, port); err != nil {
		return err
	}
	cookie := rand.Text() // without it any user of the machine could log in to the nodes
	for range n {
		if err := c.join(ctx, port, cookie); err != nil {
			return err
		}
	}
	return nil
}

// join starts one more node, which finds the cluster by way of the first one.
func (c *Cluster) join(ctx context.Context, epmd int, cookie string) error {
	o := Options{Dir: filepath.Join(c.names.dir, "node"+strconv.Itoa(len(c.Nodes)+1)), WithoutPostgres: true}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	ports, err := choosePorts(o)
	if err != nil {
		return err
	}
	ports["EPMD"] = epmd
	node, err := newRabbitMQ(ctx, o, ports)
	if err != nil {
		return err
	}
	c.Nodes = append(c.Nodes, node)
	// The leaders of the queues are spread over the nodes, as they would be in production.
	node.cluster = "queue_leader_locator = balanced\ncluster_formation.peer_discovery_backend = classic_config\n" +
		"cluster_formation.classic_config.nodes.1 = " + c.Nodes[0].nodeName() + "\n" // of the first node: itself
	node.launch = node.startNode
	if err := errors.Join(node.configure(), writeCookie(node.dir, cookie)); err != nil {
		return err
	}
	return node.Start(ctx)
}

// writeCookie writes what nodes of one cluster know each other by. Erlang insists that nobody
// else can read it.
func writeCookie(dir, cookie string) error {
	return os.WriteFile(filepath.Join(dir, ".erlang.cookie"), []byte(cookie), 0o400)
}

// URL names all nodes, with commas between them.
func (c *Cluster) URL() string {
	var urls []string
	for _, node := range c.Nodes {
		urls = append(urls, node.URL())
	}
	return strings.Join(urls, ",")
}

// Leader returns the node that leads a quorum queue.
func (c *Cluster) Leader(ctx context.Context, queue string) (*RabbitMQ, error) {
	var failures []error
	for _, asked := range c.Nodes {
		out, err := asked.Ctl(ctx, "list_queues", "--silent", "--no-table-headers", "name", "leader")
		if err != nil {
			failures = append(failures, err) // of a node that is down
			continue
		}
		for line := range strings.Lines(out) {
			if name, leader, _ := strings.Cut(strings.TrimSpace(line), "\t"); name == queue {
				return c.node(leader)
			}
		}
		return nil, fmt.Errorf("the broker has no queue %s", queue)
	}
	return nil, errors.Join(failures...)
}

func (c *Cluster) node(name string) (*RabbitMQ, error) {
	for _, node := range c.Nodes {
		if node.nodeName() == name {
			return node, nil
		}
	}
	return nil, fmt.Errorf("no node of the cluster is named %q", name)
}

// Kill ends all nodes at once.
func (c *Cluster) Kill() {
	for _, node := range c.Nodes {
		node.Kill()
	}
	if p := c.names.proc; p != nil {
		p.Kill()
	}
}
