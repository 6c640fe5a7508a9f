"""Compares a container of two regions with python-swiftclient: names, SHA-256 of
every object's bytes, and every header a copy must keep. Exits 1 on a difference.
With --kinds, objects are compared as what they are too: manifests, links and their targets.

usage: compare.py [--kinds] CONTAINER OTHER_CONTAINER   (OS_* for the first region, OTHER_REGION for the second)
"""
import hashlib
import http.client
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, unquote, urlsplit

import swiftclient

KEPT = ('content-type', 'content-encoding', 'content-disposition', 'content-language', 'cache-control',
        'expires', 'x-robots-tag', 'x-delete-at')


def connect(region):
    e = os.environ
    return swiftclient.Connection(
        authurl=e['OS_AUTH_URL'], user=e['OS_USERNAME'], key=e['OS_PASSWORD'], auth_version='3',
        os_options={'project_name': e['OS_PROJECT_NAME'], 'region_name': region,
                    'user_domain_name': e.get('OS_USER_DOMAIN_NAME', 'Default'),
                    'project_domain_name': e.get('OS_PROJECT_DOMAIN_NAME', 'Default')}, retries=5)


def raw(conn, container, name):
    """swiftclient's HTTP library folds "." and ".." in paths, so names that hold them go by http.client."""
    url, token = conn.get_auth()
    u = urlsplit(url)
    h = http.client.HTTPConnection(u.netloc, timeout=60)
    h.request('GET', '%s/%s/%s' % (u.path, quote(container), quote(name)), headers={'X-Auth-Token': token})
    r = h.getresponse()
    if r.status != 200:
        raise SystemExit('GET %r: %d' % (name, r.status))
    return {k.lower(): v.encode('latin-1').decode('utf-8') for k, v in r.getheaders()}, iter(lambda: r.read(1 << 20), b'')


def look(conn, container, name):
    if {'.', '..'} & set(name.split('/')):
        headers, body = raw(conn, container, name)
    else:
        headers, body = conn.get_object(container, name, resp_chunk_size=1 << 20)
    digest, size = hashlib.sha256(), 0
    for block in body:
        digest.update(block)
        size += len(block)
    kept = {k: v for k, v in headers.items()
            if k in KEPT or k.startswith('x-object-meta-') and k != 'x-object-meta-farshore-origin'}
    return size, digest.hexdigest(), headers['etag'], kept


def itself(conn, container, name):
    """The object as it lies there: what a link points to, what a manifest says."""
    try:
        headers = conn.head_object(container, name, query_string='symlink=get')
    except swiftclient.ClientException:  # a dynamic large object whose segments' container is missing
        headers = conn.head_object(container, name, query_string='symlink=get&multipart-manifest=get')
    out = {k: unquote(headers[k]) for k in ('x-symlink-target', 'x-object-manifest', 'x-static-large-object') if k in headers}
    out['static'] = 'x-symlink-target-etag' in headers
    out['own'] = {k: v for k, v in headers.items()
                  if k in KEPT or k.startswith('x-object-meta-') and k != 'x-object-meta-farshore-origin'}
    if 'x-static-large-object' in headers:
        out['manifest'] = json.loads(conn.get_object(container, name, query_string='multipart-manifest=get&format=raw')[1])
        out['etag'] = headers['etag']
    return out


def as_seen(conn, container, name, kinds):
    if not kinds:
        return look(conn, container, name)
    try:
        followed = look(conn, container, name)
    except swiftclient.ClientException as e:
        followed = (0, 'status %d' % e.http_status)
    return followed + (itself(conn, container, name),)


def main():
    regions = [os.environ['OS_REGION_NAME'], os.environ['OTHER_REGION']]
    kinds = '--kinds' in sys.argv
    containers = [a for a in sys.argv[1:] if a != '--kinds']
    names = [[o['name'] for o in connect(r).get_container(c, full_listing=True)[1]] for r, c in zip(regions, containers)]
    if names[0] != names[1]:
        print('names differ:', sorted(set(names[0]) ^ set(names[1]))[:20])
        return 1
    workers = 4
    conns = [[connect(r) for r in regions] for _ in range(workers)]
    bad, total = [], 0

    def part(w):
        n = 0
        for name in names[0][w::workers]:
            a, b = (as_seen(conns[w][i], containers[i], name, kinds) for i in (0, 1))
            n += a[0]
            if a != b:
                bad.append((name, a, b))
        return n
    with ThreadPoolExecutor(workers) as pool:
        total = sum(pool.map(part, range(workers)))
    for x in bad[:10]:
        print('differs:', x)
    print('%d objects, %d bytes compared, %d differ' % (len(names[0]), total, len(bad)))
    return 1 if bad else 0


sys.exit(main())
