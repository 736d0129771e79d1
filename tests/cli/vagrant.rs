//! The Vagrantfile reads the inventory by way of the program. Vagrant itself is not needed to see what it would be told.

use crate::folder::Folder;
use std::path::Path;
use std::process::Command;

/// Stands in for Vagrant: writes down every setting it is given.
const RECORDER: &str = r##"
class Recorder
  def initialize(path) = @path = path
  def method_missing(name, *words, **options, &block)
    said = words + (options.empty? ? [] : [options.sort.map { |key, value| "#{key}: #{value}" }.join(", ")])
    puts "#{@path}.#{name} #{said.join(" ")}" unless said.empty?
    inner = Recorder.new(words.empty? ? "#{@path}.#{name}" : words.first.to_s)
    block&.call(inner)
    inner
  end
  def respond_to_missing?(*) = true
end
module Vagrant
  def self.configure(_version) = yield(Recorder.new("config"))
end
"##;

#[test]
fn the_vagrantfile_follows_the_inventory() {
    let folder = Folder::new(
        "
== inventory/hosts.yaml
all:
  hosts:
    pg1: {ansible_host: 198.18.103.11, lab_memory: 16GB, lab_cpus: 4}
    pg2: {ansible_host: 198.18.103.12, lab_memory: 512MB}
    control: {ansible_connection: local}
",
    );
    insta::assert_snapshot!(read(&folder), @"
    config.vm.box= debian/bookworm64
    config.vm.synced_folder . /vagrant disabled: true
    config.ssh.insert_key= false
    config.vm.define pg1
    pg1.vm.hostname= pg1
    pg1.vm.network private_network ip: 198.18.103.11, libvirt__dhcp_enabled: false
    pg1.vm.provider libvirt
    libvirt.memory= 16384
    libvirt.cpus= 4
    libvirt.driver= qemu
    libvirt.cpu_mode= custom
    libvirt.cpu_model= qemu64
    pg1.vm.provider virtualbox
    virtualbox.memory= 16384
    virtualbox.cpus= 4
    config.vm.define pg2
    pg2.vm.hostname= pg2
    pg2.vm.network private_network ip: 198.18.103.12, libvirt__dhcp_enabled: false
    pg2.vm.provider libvirt
    libvirt.memory= 512
    libvirt.cpus= 1
    libvirt.driver= qemu
    libvirt.cpu_mode= custom
    libvirt.cpu_model= qemu64
    pg2.vm.provider virtualbox
    virtualbox.memory= 512
    virtualbox.cpus= 1
    ");
    folder.write("inventory/host_vars/pg1.yaml", "lab_memory: much");
    insta::assert_snapshot!(read(&folder), @r#"
    config.vm.box= debian/bookworm64
    config.vm.synced_folder . /vagrant disabled: true
    config.ssh.insert_key= false
    config.vm.define pg1
    pg1.vm.hostname= pg1
    pg1.vm.network private_network ip: 198.18.103.11, libvirt__dhcp_enabled: false
    `lab_memory: much` is no size: write it as "16GB"
    "#);
    folder.write("inventory/host_vars/pg1.yaml", "lab_memory: [");
    assert!(read(&folder).contains("the inventory inventory cannot be read"));
}

/// What Vagrant is told, and what is complained of.
fn read(folder: &Folder) -> String {
    folder.write("recorder.rb", RECORDER);
    let vagrantfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("vagrant/Vagrantfile");
    std::fs::copy(vagrantfile, folder.path("Vagrantfile")).expect("a copy");
    let output = Command::new("ruby")
        .args(["-r", "./recorder.rb", "Vagrantfile"])
        .current_dir(folder.path(""))
        .env("ISHPROV", env!("CARGO_BIN_EXE_ishprov"))
        .env("INVENTORY", "inventory")
        .env("EMULATE", "1")
        .env_remove("BOX")
        .output()
        .expect("ruby runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
