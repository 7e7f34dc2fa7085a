# Sends a signal to the program that runs this one, and says so when it gets it back: `listens.sh SIGNAL`. What it says
# goes to the file `told`, through that program: once something is there, that program receives signals.
trap 'echo "told of $1"; exit 3' "$1"
echo ready
until grep -q ready told; do sleep 0.01; done
kill "-$1" "$PPID"
while kill -0 "$PPID"; do sleep 0.01; done
