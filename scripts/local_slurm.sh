#!/usr/bin/env bash
# A real SLURM of one node on this machine, to try sweeps on and to test with: munged, slurmctld and
# slurmd, with all their files in one temporary folder and nothing left behind.
#
#   scripts/local_slurm.sh start [FOLDER]   start it; prints the line to type for using it
#   scripts/local_slurm.sh stop [FOLDER]    cancel its jobs, end its daemons, remove its files
#
# FOLDER (default: mamlbench-slurm in $TMPDIR or /tmp) keeps several apart. CPUS=n pretends to more
# cores than there are. Needs root and Debian's packages slurm-wlm and munge.
# Exit codes: 2 wrong use, 3 packages missing, 4 not root, 5 a daemon did not start.
set -euo pipefail

fail() {
    local code=$1
    shift
    echo "local_slurm.sh: $*" >&2
    exit "$code"
}

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 2
}

check() {
    local missing=()
    for program in munged slurmctld slurmd sbatch squeue scontrol; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} -eq 0 ] ||
        fail 3 "${missing[*]} not found: apt-get install --no-install-recommends slurm-wlm munge"
    [ "$(id -u)" -eq 0 ] || fail 4 "needs root: SLURM's daemons start jobs as other users"
}

free_port() {
    python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

configure() {
    local node memory cpus
    node=$(hostname -s)
    memory=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    cpus=${CPUS:-$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)} # nproc obeys OpenMP's variables
    mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
    chmod 700 "$folder/munge"
    dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
    chmod 400 "$folder/munge/key"
    cat >"$folder/slurm.conf" <<EOF
ClusterName=local
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge/socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
# a core that is not there, and jobs that begin within seconds
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
DefMemPerCPU=256
KillWait=10
ReturnToService=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=local Nodes=$node Default=YES MaxTime=INFINITE State=UP
EOF
}

start() {
    check
    [ ! -e "$folder" ] || fail 5 "$folder exists already: stop it first"
    mkdir -p "$folder"
    configure
    started=no
    trap '[ $started = yes ] || stop >/dev/null 2>&1' EXIT
    munged --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" \
        --log-file="$folder/munge/log" --pid-file="$folder/munge/pid" \
        --seed-file="$folder/munge/seed" >/dev/null || fail_start munge/log
    export SLURM_CONF=$folder/slurm.conf
    slurmctld -f "$SLURM_CONF" -c || fail_start slurmctld.log
    slurmd -f "$SLURM_CONF" || fail_start slurmd.log
    for _ in $(seq 300); do
        [ "$(sinfo --noheader --format=%T 2>/dev/null)" != idle ] || break
        sleep 0.1
    done
    [ "$(sinfo --noheader --format=%T)" = idle ] || fail_start slurmctld.log
    started=yes
    echo "export SLURM_CONF=$SLURM_CONF"
}

fail_start() {
    tail -n 5 "$folder/$1" >&2 || true
    fail 5 "SLURM did not start; the last lines of its $1 are above"
}

# Ends the daemon of a pid file and waits until it has ended.
end() {
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

stop() {
    [ -e "$folder/slurm.conf" ] || fail 2 "nothing to stop: $folder has no slurm.conf"
    check
    export SLURM_CONF=$folder/slurm.conf
    if [ -e "$folder/slurmctld.pid" ]; then
        # pending jobs first, so that none of them starts when a running job ends
        scancel --user="$(id -un)" --state=PENDING 2>/dev/null || true
        scancel --user="$(id -un)" --signal=KILL --full 2>/dev/null || true
        scancel --user="$(id -un)" 2>/dev/null || true
        for _ in $(seq 200); do
            [ -n "$(squeue --noheader 2>/dev/null)" ] || break
            sleep 0.1
        done
    fi
    end "$folder/slurmd.pid"
    end "$folder/slurmctld.pid"
    end "$folder/munge/pid"
    rm -rf "$folder"
}

action=${1:-}
folder=${2:-${TMPDIR:-/tmp}/mamlbench-slurm}
case $action in
start | stop) "$action" ;;
*) usage ;;
esac
