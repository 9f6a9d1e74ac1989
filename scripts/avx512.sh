#!/usr/bin/env bash
# Runs the tests of kernels, operators and equal bits on an emulated CPU with AVX-512 (Bochs), for machines without one:
# what they say of the code is true, what they say of its speed is not. About ten minutes.
#   scripts/avx512.sh [MODEL.onnx...]   each model, of known shapes, also runs with AVX-512 and with AVX2: outputs
#                                       must be the same bytes
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --avx512
build=build/release/bin
work=$(mktemp -d)
trap 'pkill -f "bochs.*$work" || true; rm -rf "$work"' EXIT
chmod 755 "$work"

# A kernel to boot, not to install.
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends/ {print $2; exit}')
(cd "$work" && apt-get download -qq "$kernel" 2>/dev/null && dpkg-deb -x "$kernel"_*.deb kernel)
mkdir -p "$work"/image/boot/grub "$work"/root/{bin,proc,sys,dev,tmp,models,lib64,lib/x86_64-linux-gnu}
cp "$work"/kernel/boot/vmlinuz-* "$work/image/boot/vmlinuz"

# The first file system: busybox, the tests and what they are linked to.
root=$work/root
cp /bin/busybox "$root/bin/"
for tool in sh mount cat grep cmp sleep poweroff; do ln -s busybox "$root/bin/$tool"; done
programs=(test_kernels test_bind test_api pando)
for p in "${programs[@]}"; do cp "$build/$p" "$root/bin/"; done
ldd "${programs[@]/#/$build/}" | grep -o '/[^ )]*\.so[^ )]*' | sort -u | xargs -I{} cp -L {} "$root/lib/x86_64-linux-gnu/"
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
for model in "$@"; do cp "$model" "$root/models/"; done
cat >"$root/init" <<'INIT'
#!/bin/sh
export PATH=/bin LD_LIBRARY_PATH=/lib/x86_64-linux-gnu GTEST_BRIEF=1 GTEST_COLOR=no
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
failed=0
grep -q avx512f /proc/cpuinfo || { echo "the emulated CPU has no AVX-512"; failed=1; }
# The sweeps over millions of numbers would take an hour; bits are compared all the same.
test_kernels --gtest_filter='-Isas/*' || failed=1
test_bind || failed=1
test_api --gtest_filter='*SameBits*' || failed=1
for model in /models/*; do
  [ -f "$model" ] || continue
  for isa in avx512 avx2; do
    pando run "$model" --random-inputs --threads 1 --isa $isa --output-dir "/tmp$model/$isa" >/tmp/log 2>&1 ||
      { cat /tmp/log; failed=1; }
  done
  for output in "/tmp$model"/avx512/*; do
    cmp "$output" "/tmp$model/avx2/${output##*/}" && echo "$model: ${output##*/} has the same bytes" || failed=1
  done
done
echo "exit $failed"
sleep 5 # until the serial line has sent all
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1 >"$work/image/boot/initrd.gz")
# Without XSAVES and XSAVEC: their sizes, as Bochs 2.7 tells them, make Linux turn AVX off.
cat >"$work/image/boot/grub/grub.cfg" <<'GRUB'
set timeout=0
menuentry tests {
 linux /boot/vmlinuz console=ttyS0 quiet clearcpuid=xsaves,xsavec mitigations=off
 initrd /boot/initrd.gz
}
GRUB
grub-mkrescue -o "$work/tests.iso" "$work/image" >/dev/null 2>&1
cat >"$work/bochsrc" <<BOCHS
cpu: model=corei7_skylake_x, ips=200000000
memory: guest=2048, host=2048
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path=$work/tests.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
display_library: term
log: $work/log
clock: sync=none
BOCHS
echo c >"$work/commands" # Debian's Bochs starts in its debugger: continue
touch "$work/serial"
TERM=vt100 script -qfc "bochs -q -f $work/bochsrc -rc $work/commands" "$work/screen" </dev/null >/dev/null 2>&1 &
# The pipe ends by a signal to tail; what counts is the last line.
tail -n +1 -F "$work/serial" 2>/dev/null | sed -u '/^exit [01]/q' | grep -v '^\[ *[0-9]' || true
grep -q '^exit 0' "$work/serial"
