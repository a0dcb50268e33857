# Makes the unit units/zeta-creds-restore.service for NixOS. The options have the names of the
# original's module, which this module replaces. (The original is the set of TypeScript tools of the
# Zeta project, whose file formats zeta shares.) A test evaluates this file and compares the result
# with that unit.
{ config, lib, ... }:

let
  cfg = config.zeta.credsRestore;
  hardening = import ./hardening.nix;

  # Words that systemd uses unchanged: it quotes, expands and splits nothing in them.
  path = lib.types.strMatching "/[A-Za-z0-9_./:@+-]*";
  word = lib.types.strMatching "[A-Za-z0-9_][A-Za-z0-9_.-]*";

  unused = what: lib.mkOption {
    type = lib.types.nullOr lib.types.str;
    default = null;
    description = "Accepted and not used: ${what}";
  };

  arguments =
    [
      "--input" cfg.blobPath
      "--user" cfg.user
      "--factor-file" cfg.factorPath
      "--usb-uuid-file" cfg.usbUuidPath
      "--usb-iserial-file" cfg.usbISerialPath
      "--uefi-keyfile" cfg.uefiKeyfilePath
      "--passphrase-file" cfg.passphraseFile
    ]
    ++ lib.optional (cfg.passphraseMode == "interactive") "--ask"
    ++ lib.optionals (cfg.persona != null) [ "--persona" cfg.persona ];

  inHomes = builtins.any (root: lib.hasPrefix root "${cfg.home}/") [ "/home/" "/root/" ];
in
{
  options.zeta.credsRestore = {
    enable = lib.mkEnableOption "restoring this machine's credentials from its stick at boot";
    package = lib.mkOption {
      type = lib.types.package;
      description = "The package that contains bin/zeta.";
    };
    user = lib.mkOption {
      type = word;
      default = "zeta";
      description = ''
        The user in whose home the credentials of people are written, by a process of that user.
      '';
    };
    home = lib.mkOption {
      type = path;
      default = "/home/zeta";
      description = "The home of that user, as in /etc/passwd. The unit may write there.";
    };
    group = unused "each file gets the group that /etc/passwd gives the user.";
    repoRoot = unused "nothing is run from a checkout.";
    scriptPath = unused "zeta is one program; see package.";
    blobPath = lib.mkOption {
      type = path;
      default = "/boot/zeta-creds.enc";
      description = "The sealed file. If it is missing, there is nothing to restore.";
    };
    factorPath = lib.mkOption {
      type = path;
      default = "/boot/zeta-creds.factor";
      description = ''
        A file that says which of the three to try first: usbUuid, usbISerial or uefiKeyfile. What
        the blob is bound to is decided by its MAC.
      '';
    };
    usbUuidPath = lib.mkOption {
      type = path;
      default = "/etc/zeta/usb-uuid";
      description = "A file with the UUID of the file system on the USB stick.";
    };
    usbISerialPath = lib.mkOption {
      type = path;
      default = "/etc/zeta/usb-iserial";
      description = "A file with the serial number of the USB stick.";
    };
    uefiKeyfilePath = lib.mkOption {
      type = path;
      default = "/boot/EFI/ZETA/keyfile";
      description = "A file of 32 bytes on the ESP.";
    };
    passphraseMode = lib.mkOption {
      type = lib.types.enum [ "file" "interactive" ];
      default = "file";
      description = ''
        What to do if passphraseFile does not exist: fail, or ask a person at the console, three
        times at most.
      '';
    };
    passphraseFile = lib.mkOption {
      type = path;
      default = "/run/zeta-creds-passphrase";
      description = "Used in either mode, if it exists, and removed afterwards.";
    };
    passphraseCredential = lib.mkOption {
      type = lib.types.nullOr path;
      default = null;
      description = ''
        A file made by 'systemd-creds encrypt --name=zeta-creds-passphrase'. It takes precedence
        over passphraseFile and is not removed.
      '';
    };
    persona = lib.mkOption {
      type = lib.types.nullOr word;
      default = null;
      description = "The persona whose credentials are restored besides those of the machine.";
    };
    blockRegistration = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "If the restore fails, zeta-node-register.service does not run.";
    };
  };

  config = lib.mkIf cfg.enable {
    warnings =
      lib.concatMap
        (name: lib.optional (cfg.${name} != null) "zeta.credsRestore.${name} is set and not used.")
        [ "group" "repoRoot" "scriptPath" ];

    # The unit may write there, but does not make the directory.
    systemd.tmpfiles.rules = [ "d /etc/zeta 0755 root root -" ];

    systemd.services.zeta-creds-restore = {
      description = "Restore this machine's credentials from its stick";
      wantedBy = [ "multi-user.target" ];
      requiredBy = lib.optional cfg.blockRegistration "zeta-node-register.service";
      after = [ "local-fs.target" ];
      before = [
        "NetworkManager.service"
        "systemd-user-sessions.service"
        "zeta-node-register.service"
      ];
      unitConfig.RequiresMountsFor = [ (dirOf cfg.blobPath) ];
      # It writes in the homes of people, so ProtectHome does not hold.
      serviceConfig = removeAttrs hardening [ "ProtectHome" ] // {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart =
          "${cfg.package}/bin/zeta creds restore --at-boot "
          + lib.concatStringsSep " " arguments;
        TimeoutStartSec = "16min";
        UMask = "0077";
        StateDirectory = "zeta-creds";
        StateDirectoryMode = "0700";
        MemorySwapMax = "0";
        LimitCORE = "0";

        CapabilityBoundingSet = "CAP_SETUID CAP_SETGID CAP_KILL";
        ReadWritePaths = [
          "/etc/zeta"
          "-/etc/ssh"
          "-/etc/NetworkManager/system-connections"
          "-/var/lib/zeta"
          "-/home"
          "-/root"
          "/run"
        ] ++ lib.optional (!inHomes) "-${cfg.home}";
        ProtectProc = "invisible";
        PrivateTmp = true;
        PrivateNetwork = true;
        PrivateIPC = true;
        MemoryDenyWriteExecute = true;
        RestrictAddressFamilies = "AF_UNIX";
        SystemCallFilter = hardening.SystemCallFilter ++ [ "@setuid" ];
      } // lib.optionalAttrs (cfg.passphraseCredential != null) {
        LoadCredentialEncrypted = "zeta-creds-passphrase:${cfg.passphraseCredential}";
      };
    };
  };
}
