# The seed of the random tests: $RIALTO_SEED, else another one every day; the same ones again by the number.

seed=${RIALTO_SEED:-$((10#$(date +%Y%j)))}
