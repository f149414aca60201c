#!/bin/sh
# Makes the container images of the tests and the demo out of the distribution's packages, with no
# registry: busybox.oci.tar (a static busybox and a few users) and nginx.oci.tar (a real service);
# and, asked for by name, postgres.oci.tar (three layers, 170 MB of files: what the benchmarks unpack).
# usage: make-test-images.sh [--force] DIRECTORY [NAME…]        default: busybox nginx
# An image that this very script made before is left alone.
set -eu

force=
if [ "${1:-}" = "--force" ]; then
  force=yes
  shift
fi
out=${1:?usage: make-test-images.sh [--force] DIRECTORY [NAME…]}
shift
[ $# -gt 0 ] || set -- busybox nginx
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
key=$(sha256sum < "$0" | cut -d ' ' -f 1)

work=$(mktemp -d "$out/.work-XXXXXX")
trap 'chmod -R u+rwX "$work" && rm -rf "$work"' EXIT INT TERM

all_of_root=
[ "$(id -u)" -eq 0 ] || all_of_root="--owner=0 --group=0"

die() {
  echo "make-test-images: $*" >&2
  exit 1
}

# quiet COMMAND…: shows the command's output only when it fails.
quiet() {
  "$@" > "$work/log" 2>&1 || {
    cat "$work/log" >&2
    die "'$*' failed"
  }
}

is_made() {
  [ -z "$force" ] && [ -s "$out/$1.oci.tar" ] && [ "$(cat "$out/$1.key" 2> /dev/null)" = "$key" ]
}

# own UID:GID PATH…: a user without root gets an image in which everything is root's.
own() {
  if [ -z "$all_of_root" ]; then chown "$@"; fi
}

# common_files ROOT: what any small image has.
common_files() {
  mkdir -p "$1/dev" "$1/proc" "$1/sys" "$1/run" "$1/etc" "$1/root" "$1/tmp" "$1/var/tmp" "$1/home/app"
  chmod 1777 "$1/tmp" "$1/var/tmp"
  chmod 700 "$1/root"
  cat > "$1/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
app:x:1000:1000:an ordinary user:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
PASSWD
  cat > "$1/etc/group" <<'GROUP'
root:x:0:
daemon:x:1:
disk:x:6:app
www-data:x:33:
video:x:44:app
app:x:1000:
nogroup:x:65534:
GROUP
  own 1000:1000 "$1/home/app"
}

# busybox_files ROOT DIRECTORY: busybox with a link for each of its applets.
busybox_files() {
  binary=$(command -v busybox) || die "busybox is missing: install busybox-static"
  mkdir -p "$1/$2"
  cp "$binary" "$1/$2/busybox"
  chmod 755 "$1/$2/busybox"
  "$binary" --list > "$work/applets"
  while read -r applet; do
    [ -e "$1/$2/$applet" ] || ln -s busybox "$1/$2/$applet"
  done < "$work/applets"
}

# pack NAME ROOTS CONFIG-OPTION…: a layer of each of ROOTS, published by rename.
pack() {
  name=$1
  roots=$2
  shift 2
  layout=$work/$name.layout
  quiet umoci init --layout "$layout"
  quiet umoci new --image "$layout:latest"
  for root in $roots; do
    # The root is "/": of "./" containers-storage does not take the mode.
    # shellcheck disable=SC2086 # empty or two words
    tar -cf "$work/layer.tar" --numeric-owner $all_of_root \
      --transform='flags=rh;s|^\./\{0,1\}||' -C "$root" .
    quiet umoci raw add-layer --image "$layout:latest" "$work/layer.tar"
  done
  quiet umoci config --image "$layout:latest" "$@"
  quiet umoci gc --layout "$layout"
  quiet skopeo copy --insecure-policy "oci:$layout:latest" "oci-archive:$work/$name.oci.tar:latest"
  mv "$work/$name.oci.tar" "$out/$name.oci.tar"
  printf '%s\n' "$key" > "$out/$name.key"
  echo "image: $out/$name.oci.tar ($(($(stat -c %s "$out/$name.oci.tar") / 1024)) KiB)"
}

make_busybox() {
  root=$work/busybox
  common_files "$root"
  busybox_files "$root" bin
  printf 'NAME="busybox"\nID=busybox\n' > "$root/etc/os-release"
  pack busybox "$root" --config.cmd sh \
    --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

# download DIRECTORY PACKAGE…: the packages' files.
download() {
  mkdir -p "$1"
  (
    cd "$1"
    shift
    apt-get download "$@" > "$work/log" 2>&1 && exit 0
    # A fresh machine has no package index, an old one may name versions that are gone.
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    $as_root apt-get update > "$work/log" 2>&1 && apt-get download "$@" > "$work/log" 2>&1
  ) || {
    cat "$work/log" >&2
    die "downloading $* failed"
  }
}

# merged_layout ROOT: the distribution's, where a package's /lib is /usr/lib.
merged_layout() {
  for folder in bin sbin lib lib64; do
    mkdir -p "$1/usr/$folder"
    ln -s "usr/$folder" "$1/$folder"
  done
}

# unpack ROOT PACKAGE…: what the packages hold.
unpack() {
  root=$1
  shift
  download "$root.debs" "$@"
  for deb in "$root".debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" > "$work/files.tar"
    tar -xf "$work/files.tar" -C "$root" --keep-directory-symlink --no-same-owner
  done
  rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/lintian"
}

make_nginx() {
  root=$work/nginx
  merged_layout "$root"
  unpack "$root" nginx nginx-common libc6 libcrypt1 libpcre2-8-0 libssl3 zlib1g
  common_files "$root"
  busybox_files "$root" usr/bin

  mkdir -p "$root/var/lib/nginx" "$root/var/log/nginx" "$root/var/www/html"
  own 33:33 "$root/var/lib/nginx"
  ln -sf /dev/stdout "$root/var/log/nginx/access.log"
  ln -sf /dev/stderr "$root/var/log/nginx/error.log"
  rm -f "$root"/etc/nginx/sites-enabled/*
  cat > "$root/etc/nginx/nginx.conf" <<'CONF'
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 256; }
http {
  include /etc/nginx/mime.types;
  access_log /dev/stdout;
  server {
    listen 80;
    root /var/www/html;
    location = /healthz { return 200 "healthy\n"; }
  }
}
CONF
  echo '<html><body>nginx in a microVM of its own</body></html>' > "$root/var/www/html/index.html"
  if [ -z "$all_of_root" ]; then
    quiet chroot "$root" /usr/sbin/nginx -V
  fi
  pack nginx "$root" --config.cmd nginx --config.cmd=-g --config.cmd 'daemon off;' \
    --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --config.exposedports 80/tcp --config.stopsignal SIGQUIT --config.workingdir /
}

# The three layers a service's image has: a system, the libraries it wants, the service.
make_postgres() {
  merged_layout "$work/system"
  unpack "$work/system" apt bash base-files coreutils dpkg libc-bin libc6 libssl3 libstdc++6 \
    openssl perl-base tzdata util-linux
  common_files "$work/system"
  merged_layout "$work/libraries"
  unpack "$work/libraries" libicu72 libpq5 libxml2
  merged_layout "$work/service"
  unpack "$work/service" postgresql-15 postgresql-client-15 postgresql-common
  pack postgres "$work/system $work/libraries $work/service" --config.cmd bash \
    --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

for image in "$@"; do
  case $image in
    busybox | nginx | postgres) is_made "$image" || "make_$image" ;;
    *) die "there is no image '$image'" ;;
  esac
done
