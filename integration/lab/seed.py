"""Fills Keystone (regions, services, endpoints, projects, users, roles) and writes the files by
which the lab is used: clouds.yaml, rclone.conf and lab.json. Idempotent.

usage: seed.py AUTH_URL STATE_FOLDER SCRIPTS_FOLDER ALIAS=REGION=PROXY_PORT[=CINDER_PORT=VOLUMES_FOLDER]...
The password comes in FARSHORE_LAB_PW.
"""
import json
import os
import sys

from keystoneauth1 import session
from keystoneauth1.identity import v3
from keystoneclient.v3 import client

URL, STATE, SCRIPTS = sys.argv[1:4]
REGIONS = [dict(zip(('alias', 'name', 'port', 'cinder', 'volumes'), r.split('=', 4))) for r in sys.argv[4:]]
PW = os.environ['FARSHORE_LAB_PW']
APPCRED = 'lab-appcred'

# user, project, roles
GRANTS = [
    ('admin', 'admin', ['admin', 'ResellerAdmin']),
    ('swift', 'service', ['admin', 'service']),
    ('cinder', 'service', ['admin', 'service']),
    ('tenant', 'tenant', ['member', 'swiftoperator']),
    # a second tenant, to see that accounts stay apart
    ('other', 'other', ['member', 'swiftoperator']),
    # sees only what a container's ACL shows it; writes nothing
    ('reader', 'tenant', ['reader']),
    # an admin scoped to the tenant's project, as an import of a backup record wants it
    ('admin', 'tenant', ['admin', 'ResellerAdmin']),
]
# suffix of the cloud's name: user, project
CLOUDS = {'': ('tenant', 'tenant'), '-other': ('other', 'other'),
          '-reader': ('reader', 'tenant'), '-admin': ('admin', 'tenant')}


def connect(user, project):
    auth = v3.Password(auth_url=URL, username=user, password=PW, project_name=project,
                       user_domain_id='default', project_domain_id='default')
    return client.Client(session=session.Session(auth=auth), endpoint_override=URL)


def one(manager, name, **kw):
    for x in manager.list():
        if x.name == name:
            return x
    return manager.create(name=name, **kw)


def write(name, text):
    path = os.path.join(STATE, name)
    fd = os.open(path + '.new', os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(fd, 'w') as f:
        f.write(text)
    os.rename(path + '.new', path)


ks = connect('admin', 'admin')
roles = {r: one(ks.roles, r) for r in sorted({r for g in GRANTS for r in g[2]})}
projects = {p: one(ks.projects, p, domain='default') for p in sorted({g[1] for g in GRANTS})}
users = {u: one(ks.users, u, domain='default', password=PW) for u in sorted({g[0] for g in GRANTS})}
for user, project, names in GRANTS:
    for r in names:
        ks.roles.grant(roles[r], user=users[user], project=projects[project])
ks.roles.grant(roles['admin'], user=users['admin'], system='all')

have = {r.id for r in ks.regions.list()}
for r in REGIONS:
    if r['name'] not in have:
        ks.regions.create(id=r['name'])
services = {s.type: s for s in ks.services.list()}
# Cinder goes by two types: clients of before and after 2019 look for one each.
for name, typ in (('keystone', 'identity'), ('swift', 'object-store'),
                  ('cinderv3', 'volumev3'), ('cinder', 'block-storage')):
    if typ not in services:
        services[typ] = ks.services.create(name=name, type=typ)
have = {(e.service_id, e.region_id, e.interface): e for e in ks.endpoints.list()}
want = {}
for r in REGIONS:
    urls = {'identity': URL, 'object-store': 'http://127.0.0.1:%s/v1/AUTH_%%(project_id)s' % r['port']}
    if 'cinder' in r:
        for typ in ('volumev3', 'block-storage'):
            urls[typ] = 'http://127.0.0.1:%s/v3/%%(project_id)s' % r['cinder']
    for typ, url in urls.items():
        for iface in ('public', 'internal', 'admin'):
            want[services[typ].id, r['name'], iface] = (services[typ], url)
for key in have.keys() - want.keys():       # of a Cinder that the lab had before
    ks.endpoints.delete(have[key])
for key in want.keys() - have.keys():
    service, url = want[key]
    ks.endpoints.create(service, url=url, interface=key[2], region=key[1])

tenant = connect('tenant', 'tenant')
creds = {c.name: c for c in tenant.application_credentials.list(user=users['tenant'].id)}
cred = creds.get(APPCRED) or tenant.application_credentials.create(
    name=APPCRED, secret=PW, user=users['tenant'].id)

clouds, rclone = {}, []
for r in REGIONS:
    common = {'region_name': r['name'], 'interface': 'public', 'identity_api_version': 3}
    for suffix, (user, project) in CLOUDS.items():
        name = 'lab-%s%s' % (r['alias'], suffix)
        clouds[name] = dict(common, auth={
            'auth_url': URL, 'username': user, 'password': PW, 'project_name': project,
            'user_domain_name': 'Default', 'project_domain_name': 'Default'})
        rclone.append('[%s]\ntype = swift\nauth = %s\nauth_version = 3\nuser = %s\nkey = %s\ndomain = Default\n'
                      'tenant = %s\ntenant_domain = Default\nregion = %s\n'
                      % (name, URL, user, PW, project, r['name']))
    clouds['lab-%s-appcred' % r['alias']] = dict(common, auth_type='v3applicationcredential', auth={
        'auth_url': URL, 'application_credential_id': cred.id, 'application_credential_secret': PW})

# JSON is YAML: no YAML library is needed to write it, and any reads it
write('clouds.yaml', json.dumps({'clouds': clouds}, indent=1) + '\n')
write('rclone.conf', '\n'.join(rclone))
write('lab.json', json.dumps({
    'auth_url': URL,
    'scripts': SCRIPTS,
    'regions': [{'alias': r['alias'], 'name': r['name'], 'swift': 'http://127.0.0.1:%s' % r['port'],
                 'cinder': 'http://127.0.0.1:%s' % r['cinder'] if 'cinder' in r else '',
                 'volumes': r.get('volumes', '')} for r in REGIONS],
    'users': {u: x.id for u, x in users.items()},
    'projects': {p: x.id for p, x in projects.items()},
    'clouds': clouds,
}, indent=1) + '\n')
