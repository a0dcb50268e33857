#!/usr/bin/python3
# Lists the loop devices of the rig as disks with serial numbers; everything else as lsblk does. Other
# tests have loop devices of their own, which are left out.
import json
import os
import subprocess
import sys

listing = json.loads(subprocess.check_output(["/usr/bin/lsblk", *sys.argv[1:]]))
with open(os.environ["RIG"]) as rig:
    serials = dict(line.split() for line in rig)
devices = []
for device in listing["blockdevices"]:
    if device["path"] in serials:
        device.update(type="disk", tran="sata", serial=serials[device["path"]], model="RIG")
        devices.append(device)
    elif device["type"] != "loop":
        devices.append(device)
json.dump({"blockdevices": devices}, sys.stdout)
