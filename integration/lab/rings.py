"""Writes Swift rings of one device and one replica each.

usage: rings.py FOLDER:TYPE:PORT...

One process for all of them: swift-ring-builder takes three, of half a second each, for every ring.
"""
import sys

from swift.common.ring import RingBuilder

# Two partitions for containers, since the container-updater forks a child (0.3 s of CPU) for each
# of them in every pass; 64 for the others.
PART_POWER = {'account': 6, 'container': 1, 'object': 6}

for folder, typ, port in (a.split(':') for a in sys.argv[1:]):
    b = RingBuilder(PART_POWER[typ.split('-')[0]], 1, 0)  # object-1 is of the storage policy with that index
    b.add_dev({'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': int(port), 'device': 'd1', 'weight': 1,
               'replication_ip': '127.0.0.1', 'replication_port': int(port), 'meta': ''})
    b.rebalance()
    b.get_ring().save('%s/%s.ring.gz' % (folder, typ))
