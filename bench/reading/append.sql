\set n :n + 1
\set key 7000000000000000 + :client_id + :clients * permute(:n % :slice, :slice)
\set expected :start + (:n / :slice) * :batch
SELECT es_append(:key, :events, :expected);
