# Writes an attribute set as TOML: values first, then the tables below them. A string of JSON is one
# of TOML.
let
  inherit (builtins) attrNames concatMap concatStringsSep filter isAttrs isList toJSON;

  value = v: if isList v then "[${concatStringsSep ", " (map value v)}]" else toJSON v;

  table = path: set:
    let
      names = filter (name: set.${name} != null) (attrNames set);
      values = filter (name: !isAttrs set.${name}) names;
      tables = filter (name: isAttrs set.${name}) names;
      header = [ "" "[${concatStringsSep "." (map toJSON path)}]" ];
    in
    (if path != [ ] && values != [ ] then header else [ ])
    ++ map (name: "${toJSON name} = ${value set.${name}}") values
    ++ concatMap (name: table (path ++ [ name ]) set.${name}) tables;
in
set: concatStringsSep "\n" (table [ ] set) + "\n"
