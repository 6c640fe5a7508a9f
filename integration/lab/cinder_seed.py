"""Makes a region's volume types. Idempotent.

usage: cinder_seed.py AUTH_URL ALIAS=REGION...
The password comes in FARSHORE_LAB_PW.
"""
import os
import sys

from cinderclient import client
from keystoneauth1 import session
from keystoneauth1.identity import v3

auth = v3.Password(auth_url=sys.argv[1], username='admin', password=os.environ['FARSHORE_LAB_PW'],
                   project_name='admin', user_domain_id='default', project_domain_id='default')
login = session.Session(auth=auth)
for alias, region in (a.split('=', 1) for a in sys.argv[2:]):
    c = client.Client('3.70', session=login, region_name=region, service_type='volumev3')
    have = {t.name: t for t in c.volume_types.list()}
    # One that all regions have, one that no other region has, and one whose volumes are encrypted
    for name in ('standard', 'gold-' + alias, 'encrypted'):
        t = have.get(name) or c.volume_types.create(name)
        specs = {'volume_backend_name': 'files'}
        if t.get_keys() != specs:       # refused once volumes are of the type
            t.set_keys(specs)
        if name == 'encrypted' and not getattr(c.volume_encryption_types.get(t), 'provider', None):
            c.volume_encryption_types.create(t, {'provider': 'luks', 'cipher': 'aes-xts-plain64',
                                                 'key_size': 256, 'control_location': 'front-end'})
