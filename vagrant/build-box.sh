#!/usr/bin/env bash
# Makes a Vagrant box for libvirt out of Debian packages, where no box can be downloaded.
#   vagrant/build-box.sh [FOLDER]    (as root; default: vagrant/box)
# FOLDER then holds debian.box and the kernel and initrd that the Vagrantfile boots it with: no boot loader is needed,
# so that the disk is made without loop devices and mounts.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/box}
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
for tool in debootstrap mkfs.ext4 qemu-img; do
  command -v "$tool" >/dev/null || { echo "install $tool first (packages debootstrap, e2fsprogs, qemu-utils)" >&2; exit 1; }
done
key=$(find /usr/share/vagrant /usr/share/rubygems-integration /opt/vagrant -name vagrant.pub -print -quit 2>/dev/null || true)
[ -n "$key" ] || { echo "no vagrant.pub, the public key that Vagrant's boxes let in: install vagrant first" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

debootstrap --variant=minbase \
  --include=systemd,systemd-sysv,udev,openssh-server,iproute2,sudo,dbus,netbase,ca-certificates,procps,linux-image-cloud-amd64,zstd \
  "$suite" "$root"
cp /etc/apt/sources.list "$root/etc/apt/" 2>/dev/null || true
cp -r /etc/apt/sources.list.d/. "$root/etc/apt/sources.list.d/" 2>/dev/null || true
echo debian > "$root/etc/hostname"
echo '/dev/vda / ext4 defaults 0 1' > "$root/etc/fstab"
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n' > "$root/etc/systemd/network/90-dhcp.network"
chroot "$root" systemctl enable -q systemd-networkd ssh
# The account that Vagrant logs in with, as its documentation asks of a box.
chroot "$root" useradd -m -s /bin/bash vagrant
install -d -m 700 "$root/home/vagrant/.ssh"
install -m 600 "$key" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown -R vagrant: /home/vagrant/.ssh
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/vagrant"
chmod 440 "$root/etc/sudoers.d/vagrant"
# Every machine makes host keys of its own at its first boot.
rm -f "$root"/etc/ssh/ssh_host_*
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' |
  install -D -m 644 /dev/stdin "$root/etc/systemd/system/ssh.service.d/keys.conf"
rm -f "$root"/var/cache/apt/archives/*.deb

mkdir -p "$out"
cp "$(ls "$root"/boot/vmlinuz-* | tail -1)" "$out/vmlinuz"
cp "$(ls "$root"/boot/initrd.img-* | tail -1)" "$out/initrd.img"
truncate -s 20G "$work/disk.raw"
mkfs.ext4 -q -F -d "$root" "$work/disk.raw"
qemu-img convert -O qcow2 "$work/disk.raw" "$work/box.img"
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 20}' > "$work/metadata.json"
echo 'Vagrant.configure("2") { |config| config.vm.synced_folder ".", "/vagrant", disabled: true }' > "$work/Vagrantfile"
tar -C "$work" -czf "$out/debian.box" metadata.json Vagrantfile box.img
# The machine's QEMU runs as an account of its own.
chmod 644 "$out/vmlinuz" "$out/initrd.img"
echo "made $out/debian.box"
