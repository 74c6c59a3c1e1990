# Becomes the program given, and has it killed when whoever started it dies.
#
# $1 is the signal for that, the rest is the command. Standard input is a pipe that only the starter holds open,
# standard output a locked file for the program to inherit, standard error the log.
#
# The watcher is nobody's child (hence the two subshells): the program must not meet a child that it never made.
# A line in the pipe says that the program has ended by itself; only the end of the pipe means the starter is gone.
signal=$1
shift
exec 8<&0 9>&1 </dev/null 1>&2
(
  (
    read -r _ <&8 && exit 0
    kill -s "$signal" $$
    tries=0
    while kill -0 $$ && [ "$tries" -lt 50 ]; do
      sleep 0.1
      tries=$((tries + 1))
    done
    kill -s KILL $$
  ) 9>&- >/dev/null 2>&1 &
)
exec 8<&-
exec "$@"
