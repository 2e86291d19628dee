package local

import "testing"

func TestServerOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		process running
		want    bool
	}{
		"a backend works in the data folder":          {running{name: "postgres", command: "postgres: checkpointer ", dir: "/x/run/postgres/data"}, true},
		"epmd is called by a name in the folder":      {running{name: "epmd", command: "/x/run/postgres/epmd -port 1 ", dir: "/"}, true},
		"the neighbour's folder starts alike":         {running{name: "postgres", command: "postgres -D /x/run/postgres2 ", dir: "/x/run/postgres2"}, false},
		"the system's server is somewhere else":       {running{name: "postgres", command: "postgres -D /var/lib/postgresql ", dir: "/var/lib/postgresql"}, false},
		"a shell in the folder is not a server":       {running{name: "bash", command: "-bash ", dir: "/x/run/postgres"}, false},
		"a shell that watches the disk is RabbitMQ's": {running{name: "sh", command: "/bin/sh -s rabbit_disk_monitor ", dir: "/x/run/postgres"}, true},
		"somebody who reads the log is not a server":  {running{name: "tail", command: "tail -f /x/run/postgres/log ", dir: "/"}, false},
	} {
		if got := tt.process.serverOf("/x/run/postgres"); got != tt.want {
			t.Errorf("%s: serverOf = %v, want %v", name, got, tt.want)
		}
	}
}
