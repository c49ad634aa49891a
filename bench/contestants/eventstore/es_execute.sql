SELECT status FROM es_execute(:key, 'decide', :events);
