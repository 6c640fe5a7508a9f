"""A Cinder volume driver that keeps every volume and every snapshot as one sparse file, so that a
test can read and write a volume's bytes at any time: <folder>/volume-<id>, <folder>/snapshot-<id>.

Not Cinder's own NFS driver, the only one that needs no block devices: it wants to mount, turns a
volume into a qcow2 chain at its first snapshot, and then (21.3.1) makes no volume from any snapshot
but the first, and backs up the bytes of the qcow2 file instead of the volume's. All else on the way,
the managers, os-brick and cinder-backup, is stock.
"""
import os

from oslo_config import cfg
from oslo_utils import units

from cinder import exception
from cinder.volume import driver

OPTS = [cfg.StrOpt('lab_folder', help='Where the volumes lie.')]


class LabFileDriver(driver.VolumeDriver):
    VERSION = '1.0.0'

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTS)

    def check_for_setup_error(self):
        if not os.path.isdir(self.configuration.lab_folder):
            raise exception.VolumeBackendAPIException(data='lab_folder is no folder')

    def _update_volume_stats(self):
        self._stats = {
            'volume_backend_name': self.configuration.volume_backend_name,
            'vendor_name': 'lab', 'driver_version': self.VERSION, 'storage_protocol': 'local',
            'pools': [{'pool_name': 'files', 'total_capacity_gb': 'infinite',
                       'free_capacity_gb': 'infinite', 'reserved_percentage': 0}]}

    # --- files ---

    def _path(self, thing):     # a volume or a snapshot
        return os.path.join(self.configuration.lab_folder, thing.name)

    def local_path(self, volume):
        return self._path(volume)

    def _copy(self, src, dst):
        """Never seen half done, nor lost when the copier is killed and asked again."""
        self._execute('cp', '--sparse=always', '--reflink=auto', src, dst + '.part')
        os.rename(dst + '.part', dst)

    def _grow(self, volume, size=None):
        path = self._path(volume)
        if os.path.getsize(path) < (size or volume.size) * units.Gi:
            os.truncate(path, (size or volume.size) * units.Gi)

    def _remove(self, thing):
        for path in (self._path(thing), self._path(thing) + '.part'):
            if os.path.exists(path):
                os.unlink(path)

    # --- volumes and snapshots ---

    def create_volume(self, volume):
        with open(self._path(volume), 'wb'):
            pass
        self._grow(volume)

    def delete_volume(self, volume):
        self._remove(volume)

    def extend_volume(self, volume, new_size):
        self._grow(volume, new_size)

    def create_snapshot(self, snapshot):
        self._copy(self._path(snapshot.volume), self._path(snapshot))

    def delete_snapshot(self, snapshot):
        self._remove(snapshot)

    def create_volume_from_snapshot(self, volume, snapshot):
        self._copy(self._path(snapshot), self._path(volume))
        self._grow(volume)

    def create_cloned_volume(self, volume, src_vref):
        self._copy(self._path(src_vref), self._path(volume))
        self._grow(volume)

    def revert_to_snapshot(self, context, volume, snapshot):
        self._copy(self._path(snapshot), self._path(volume))
        self._grow(volume)

    # --- attachments: os-brick's connector "local" hands the path on ---

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def remove_export(self, context, volume):
        pass

    # cinder-backup opens the volume that it restores to for writing, which cuts a file to nothing
    # where a block device would keep its size. One that died in a restore left the file short.

    def initialize_connection(self, volume, connector, **kwargs):
        self._grow(volume)
        return {'driver_volume_type': 'local', 'data': {'device_path': self._path(volume)}}

    def terminate_connection(self, volume, connector, **kwargs):
        self._grow(volume)
